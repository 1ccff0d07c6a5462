"""vilbert.pretraining.pretrain whose last evaluation takes a minute, for a test."""

import time

from extract.command import run
from vilbert.pretraining import pretrain

NUM_EVALUATIONS = 3


class SlowEvaluator(pretrain.PretrainingEvaluator):
    num_done = 0

    def __call__(self, model):
        self.num_done += 1
        if self.num_done == NUM_EVALUATIONS:
            time.sleep(60)
        return super().__call__(model)


if __name__ == "__main__":
    pretrain.PretrainingEvaluator = SlowEvaluator
    run(pretrain.main)
