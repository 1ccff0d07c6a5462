"""What each tensor of a published checkpoint is called here, as data; modules, each with a weight and mostly a bias.

N counts layers. Left the name of vilbert_beta (vilbert-multi-task and MMF use the same), right ours.
Source: the state dicts of the published code.
"""

from typing import Literal

Task = Literal["pretraining", "vqa", "vcr", "refcoco", "retrieval"]

LAYER = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.output",
    "attention.output.LayerNorm": "attention.norm",
    "intermediate.dense": "feed_forward.intermediate",
    "output.dense": "feed_forward.output",
    "output.LayerNorm": "feed_forward.norm",
}
CO_LAYER = {  # 1 is vision, 2 is text: text asks (query2) what vision holds (key1, value1)
    "biattention.query2": "text_attention.query",
    "biattention.key1": "text_attention.key",
    "biattention.value1": "text_attention.value",
    "biOutput.dense2": "text_attention.output",
    "biOutput.LayerNorm2": "text_attention.norm",
    "biattention.query1": "visual_attention.query",
    "biattention.key2": "visual_attention.key",
    "biattention.value2": "visual_attention.value",
    "biOutput.dense1": "visual_attention.output",
    "biOutput.LayerNorm1": "visual_attention.norm",
    "t_intermediate.dense": "text_feed_forward.intermediate",
    "t_output.dense": "text_feed_forward.output",
    "t_output.LayerNorm": "text_feed_forward.norm",
    "v_intermediate.dense": "visual_feed_forward.intermediate",
    "v_output.dense": "visual_feed_forward.output",
    "v_output.LayerNorm": "visual_feed_forward.norm",
}
TEXT_EMBEDDINGS = {
    "bert.embeddings.word_embeddings": "vilbert.text_embeddings.word",
    "bert.embeddings.position_embeddings": "vilbert.text_embeddings.position",
    "bert.embeddings.token_type_embeddings": "vilbert.text_embeddings.token_type",
    "bert.embeddings.LayerNorm": "vilbert.text_embeddings.norm",
}
TOKEN_HEAD = {
    "cls.predictions.transform.dense": "token_head.dense",
    "cls.predictions.transform.LayerNorm": "token_head.norm",
    "cls.predictions.decoder": "token_head.decoder",
    "cls.predictions": "token_head.decoder",  # the bias lies here
}
TWO_STREAM = {
    "bert.embeddings.task_embeddings": "vilbert.text_embeddings.task",
    "bert.v_embeddings.image_embeddings": "vilbert.visual_embeddings.feature",
    "bert.v_embeddings.image_location_embeddings": "vilbert.visual_embeddings.box",
    "bert.v_embeddings.LayerNorm": "vilbert.visual_embeddings.norm",
    **{f"bert.encoder.layer.N.{theirs}": f"vilbert.text_layers.N.{ours}" for theirs, ours in LAYER.items()},
    **{f"bert.encoder.v_layer.N.{theirs}": f"vilbert.visual_layers.N.{ours}" for theirs, ours in LAYER.items()},
    **{f"bert.encoder.c_layer.N.{theirs}": f"vilbert.co_layers.N.{ours}" for theirs, ours in CO_LAYER.items()},
    "bert.t_pooler.dense": "vilbert.text_pooler",
    "bert.v_pooler.dense": "vilbert.visual_pooler",
}
SINGLE_STREAM = {
    "bert.image_embeddings.image_embeddings": "vilbert.visual_embeddings.feature",
    "bert.image_embeddings.image_location_embeddings": "vilbert.visual_embeddings.box",
    "bert.image_embeddings.token_type_embeddings": "vilbert.visual_embeddings.segment",
    "bert.image_embeddings.LayerNorm": "vilbert.visual_embeddings.norm",
    **{f"bert.encoder.layer.N.{theirs}": f"vilbert.layers.N.{ours}" for theirs, ours in LAYER.items()},
    "bert.pooler.dense": "vilbert.pooler",
}
HEADS: dict[Task, dict[str, str]] = {
    "pretraining": {
        **TOKEN_HEAD,
        "cls.imagePredictions.transform.dense": "region_head.dense",
        "cls.imagePredictions.transform.LayerNorm": "region_head.norm",
        "cls.imagePredictions.decoder": "region_head.decoder",
        "cls.bi_seq_relationship": "alignment_head",
        "cls.seq_relationship": "alignment_head",  # of the single stream
    },
    "vqa": {
        "vil_prediction.main.0": "answer_head.dense",  # vilbert_beta, weight-normed
        "vil_prediction.main.3": "answer_head.decoder",
        "vil_prediction.logit_fc.0": "answer_head.dense",  # vilbert-multi-task
        "vil_prediction.logit_fc.2": "answer_head.norm",
        "vil_prediction.logit_fc.3": "answer_head.decoder",
        "classifier.0.dense": "answer_head.dense",  # MMF
        "classifier.0.LayerNorm": "answer_head.norm",
        "classifier.1": "answer_head.decoder",
    },
    "vcr": {"vil_logit": "score_head"},
    "refcoco": {"vision_logit": "grounding_head"},
    "retrieval": {"vil_logit": "score_head"},
}
IGNORED = {  # pattern of the key: why no tensor here is made of it
    r".*\.biOutput\.q_dense[12]\..*": "allocated by the original, read by nothing",
    r".*\.position_ids": "the numbers 0, 1, 2, no weight",
    r"vil_prediction_gqa\..*": "GQA has no model here",
    r"vil_(binary|tri)_prediction\..*": "NLVR2 and SNLI-VE have no model here",
    r"linguisic_logit\..*": "no task of either repository reads it",
    r".*\.dyLinear_[qk]\..*": "dynamic attention, which is no part of ViLBERT",
}
UNKNOWN = "unknown to ViLBERT"
