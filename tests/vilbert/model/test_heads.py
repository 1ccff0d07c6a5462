import torch

from vilbert.model.heads import AnswerHead


def test_the_paper_s_answer_head_drops_half(two_stream_config):
    torch.manual_seed(0)
    head, read, fused = AnswerHead(8, 31, config=two_stream_config()), [], torch.randn(3, 8)
    head.decoder.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    head.train()(fused)
    head.eval()(fused)
    dropped, kept = read
    is_dropped = (dropped == 0) & (kept != 0)
    assert is_dropped.any()
    torch.testing.assert_close(dropped[~is_dropped], 2 * kept[~is_dropped])
