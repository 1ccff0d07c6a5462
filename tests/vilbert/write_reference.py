"""Writes tests/vilbert/data: tiny models with random weights under the original's names, and what they must give.

The forward passes here are written from the paper's formulas, tensor by tensor, and import nothing of vilbert/; the
files have the layout of the parity fixtures. Run it again with: python tests/vilbert/write_reference.py
"""

import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

DATA = Path(__file__).parent / "data"
TWO_STREAM = {
    "vocab_size": 29, "type_vocab_size": 2, "max_position_embeddings": 11,
    "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 13, "num_hidden_layers": 3,
    "v_feature_size": 7, "v_target_size": 5, "v_hidden_size": 12, "v_num_attention_heads": 3,
    "v_intermediate_size": 11, "v_num_hidden_layers": 2, "bi_hidden_size": 10, "bi_num_attention_heads": 5,
    "v_biattention_id": [0, 1], "t_biattention_id": [1, 2], "fusion_method": "mul",
}  # fmt: skip
SINGLE_STREAM = {
    "vocab_size": 29, "type_vocab_size": 2, "max_position_embeddings": 11,
    "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 13, "num_hidden_layers": 2,
}  # fmt: skip


class Weights(dict):
    """Random tensors by the original's names, made when they are declared."""

    def __init__(self, seed: int):
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def draw(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator).double()

    def matrix(self, name: str, *shape: int) -> None:
        self[f"{name}.weight"] = self.draw(*shape) / 3

    def linear(self, name: str, rows: int, columns: int) -> None:
        self.matrix(name, rows, columns)
        self[f"{name}.bias"] = self.draw(rows) / 3

    def norm(self, name: str, width: int) -> None:
        self[f"{name}.weight"] = 1 + self.draw(width) / 3
        self[f"{name}.bias"] = self.draw(width) / 3

    def layer(self, name: str, width: int, inner: int) -> None:
        for part in ("query", "key", "value"):
            self.linear(f"{name}.attention.self.{part}", width, width)
        self.linear(f"{name}.attention.output.dense", width, width)
        self.norm(f"{name}.attention.output.LayerNorm", width)
        self.feed_forward(f"{name}.intermediate", f"{name}.output", width, inner)

    def feed_forward(self, intermediate: str, output: str, width: int, inner: int) -> None:
        self.linear(f"{intermediate}.dense", inner, width)
        self.linear(f"{output}.dense", width, inner)
        self.norm(f"{output}.LayerNorm", width)

    def text_and_heads(self, c: dict, *, visual: int, target: int, fused: int, alignment: str) -> None:
        text = c["hidden_size"]
        self.matrix("bert.embeddings.word_embeddings", c["vocab_size"], text)
        self.matrix("bert.embeddings.position_embeddings", c["max_position_embeddings"], text)
        self.matrix("bert.embeddings.token_type_embeddings", 2, text)
        self.norm("bert.embeddings.LayerNorm", text)
        for index in range(c["num_hidden_layers"]):
            self.layer(f"bert.encoder.layer.{index}", text, c["intermediate_size"])
        for name, width in (("cls.predictions", text), ("cls.imagePredictions", visual)):
            self.linear(f"{name}.transform.dense", width, width)
            self.norm(f"{name}.transform.LayerNorm", width)
        self["cls.predictions.bias"] = self.draw(c["vocab_size"])
        self.linear("cls.imagePredictions.decoder", target, visual)
        self.linear(f"cls.{alignment}", 2, fused)

    # The formulas.

    def apply(self, name: str, x: Tensor) -> Tensor:
        return x @ self[f"{name}.weight"].T + self[f"{name}.bias"]

    def normed(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self[f"{name}.weight"], self[f"{name}.bias"], 1e-12)

    def attend(self, names: tuple[str, str, str], asks: Tensor, holds: Tensor, mask: Tensor, heads: int):
        q, k, v = (
            torch.stack(self.apply(name, x).chunk(heads, -1), 1)
            for name, x in zip(names, (asks, holds, holds), strict=True)
        )
        scores = torch.einsum("bhqd,bhkd->bhqk", q, k) / math.sqrt(q.shape[-1]) - 10000 * (1 - mask)[:, None, None]
        probs = scores.exp() / scores.exp().sum(-1, keepdim=True)
        return torch.cat(torch.einsum("bhqk,bhkd->bhqd", probs, v).unbind(1), -1), probs

    def fed(self, intermediate: str, output: str, x: Tensor) -> Tensor:
        inner = self.apply(f"{intermediate}.dense", x)
        inner = inner * (1 + torch.erf(inner / math.sqrt(2))) / 2
        return self.normed(f"{output}.LayerNorm", x + self.apply(f"{output}.dense", inner))

    def layered(self, name: str, x: Tensor, mask: Tensor, heads: int):
        names = tuple(f"{name}.attention.self.{part}" for part in ("query", "key", "value"))
        mixed, probs = self.attend(names, x, x, mask, heads)
        x = self.normed(f"{name}.attention.output.LayerNorm", x + self.apply(f"{name}.attention.output.dense", mixed))
        return self.fed(f"{name}.intermediate", f"{name}.output", x), probs

    def text_start(self, batch: dict[str, Tensor]) -> Tensor:
        ids, prefix = batch["input_ids"], "bert.embeddings"
        words = F.embedding(ids, self[f"{prefix}.word_embeddings.weight"], padding_idx=0)
        places = self[f"{prefix}.position_embeddings.weight"][: ids.shape[1]]
        types = self[f"{prefix}.token_type_embeddings.weight"][batch["token_type_ids"]]
        return self.normed(f"{prefix}.LayerNorm", words + places + types)

    def predicted(self, name: str, x: Tensor) -> Tensor:
        return self.normed(f"{name}.transform.LayerNorm", F.gelu(self.apply(f"{name}.transform.dense", x)))

    def tokens(self, x: Tensor) -> Tensor:
        words = self["bert.embeddings.word_embeddings.weight"]
        return self.predicted("cls.predictions", x) @ words.T + self["cls.predictions.bias"]

    def regions(self, x: Tensor) -> Tensor:
        return self.apply("cls.imagePredictions.decoder", self.predicted("cls.imagePredictions", x))


def two_stream_weights(c: dict) -> Weights:
    weights = Weights(1)
    text, visual, co = c["hidden_size"], c["v_hidden_size"], c["bi_hidden_size"]
    weights.text_and_heads(c, visual=visual, target=c["v_target_size"], fused=co, alignment="bi_seq_relationship")
    weights.linear("bert.v_embeddings.image_embeddings", visual, c["v_feature_size"])
    weights.linear("bert.v_embeddings.image_location_embeddings", visual, 5)
    weights.norm("bert.v_embeddings.LayerNorm", visual)
    for index in range(c["v_num_hidden_layers"]):
        weights.layer(f"bert.encoder.v_layer.{index}", visual, c["v_intermediate_size"])
    for index in range(len(c["v_biattention_id"])):
        name = f"bert.encoder.c_layer.{index}"
        for part in ("query", "key", "value"):
            weights.linear(f"{name}.biattention.{part}1", co, visual)
            weights.linear(f"{name}.biattention.{part}2", co, text)
        for number, width in ((1, visual), (2, text)):
            weights.linear(f"{name}.biOutput.dense{number}", width, co)
            weights.norm(f"{name}.biOutput.LayerNorm{number}", width)
            weights.linear(f"{name}.biOutput.q_dense{number}", width, co)
        weights.feed_forward(f"{name}.v_intermediate", f"{name}.v_output", visual, c["v_intermediate_size"])
        weights.feed_forward(f"{name}.t_intermediate", f"{name}.t_output", text, c["intermediate_size"])
    weights.linear("bert.t_pooler.dense", co, text)
    weights.linear("bert.v_pooler.dense", co, visual)
    return weights


def run_two_stream(w: Weights, c: dict, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    out: dict[str, Tensor] = {}
    text_mask, visual_mask = batch["attention_mask"].double(), batch["image_attention_mask"].double()
    text = w.text_start(batch)
    visual = w.apply("bert.v_embeddings.image_embeddings", batch["image_feat"])
    visual = visual + w.apply("bert.v_embeddings.image_location_embeddings", batch["image_loc"])
    visual = w.normed("bert.v_embeddings.LayerNorm", visual)
    places = list(zip(c["t_biattention_id"], c["v_biattention_id"], strict=True))
    text_done = visual_done = 0
    for k, (text_end, visual_end) in enumerate([*places, (c["num_hidden_layers"], c["v_num_hidden_layers"])]):
        for i in range(text_done, text_end):
            text, out[f"attn_t.{i}"] = w.layered(f"bert.encoder.layer.{i}", text, text_mask, c["num_attention_heads"])
        for i in range(visual_done, visual_end):
            name = f"bert.encoder.v_layer.{i}"
            visual, out[f"attn_v.{i}"] = w.layered(name, visual, visual_mask, c["v_num_attention_heads"])
        text_done, visual_done = text_end, visual_end
        if k == len(places):
            break
        name, heads = f"bert.encoder.c_layer.{k}", c["bi_num_attention_heads"]
        parts = {n: tuple(f"{name}.biattention.{p}" for p in ps) for n, ps in
                 {"text": ("query2", "key1", "value1"), "visual": ("query1", "key2", "value2")}.items()}  # fmt: skip
        for_text, out[f"attn_c1.{k}"] = w.attend(parts["text"], text, visual, visual_mask, heads)
        for_visual, out[f"attn_c2.{k}"] = w.attend(parts["visual"], visual, text, text_mask, heads)
        text = w.normed(f"{name}.biOutput.LayerNorm2", text + w.apply(f"{name}.biOutput.dense2", for_text))
        visual = w.normed(f"{name}.biOutput.LayerNorm1", visual + w.apply(f"{name}.biOutput.dense1", for_visual))
        text = w.fed(f"{name}.t_intermediate", f"{name}.t_output", text)
        visual = w.fed(f"{name}.v_intermediate", f"{name}.v_output", visual)
    out |= {"sequence_output_t": text, "sequence_output_v": visual}
    out["pooled_output_t"] = w.apply("bert.t_pooler.dense", text[:, 0]).clamp(min=0)
    out["pooled_output_v"] = w.apply("bert.v_pooler.dense", visual[:, 0]).clamp(min=0)
    fused = out["pooled_output_t"] * out["pooled_output_v"]
    out |= {"prediction_scores_t": w.tokens(text), "prediction_scores_v": w.regions(visual)}
    out["seq_relationship_score"] = w.apply("cls.bi_seq_relationship", fused)
    return out | losses_of(out, batch)


def losses_of(out: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
    is_token, is_region = batch["masked_lm_labels"] >= 0, batch["image_label"] == 1
    words = out["prediction_scores_t"].log_softmax(-1)[is_token]
    regions = out["prediction_scores_v"][:, 1:].log_softmax(-1)[is_region]
    target = batch["image_target"][is_region]
    pairs = out["seq_relationship_score"].log_softmax(-1)
    return {
        "masked_lm_loss": -words.gather(1, batch["masked_lm_labels"][is_token][:, None]).mean()[None],
        "masked_img_loss": (target * (target.log() - regions)).sum(-1).mean()[None],
        "next_sentence_loss": -pairs.gather(1, batch["next_sentence_label"][:, None]).mean()[None],
    }


def single_stream_weights(c: dict) -> Weights:
    weights, width, answers = Weights(2), c["hidden_size"], 3
    weights.text_and_heads(c, visual=width, target=5, fused=width, alignment="seq_relationship")
    weights.linear("bert.image_embeddings.image_embeddings", width, 7)
    weights.linear("bert.image_embeddings.image_location_embeddings", width, 5)
    weights.matrix("bert.image_embeddings.token_type_embeddings", 2, width)
    weights.norm("bert.image_embeddings.LayerNorm", width)
    weights.linear("bert.pooler.dense", width, width)
    for name, rows, columns in (("main.0", 2 * width, width), ("main.3", answers, 2 * width)):
        weights[f"vil_prediction.{name}.weight_v"] = weights.draw(rows, columns)
        weights[f"vil_prediction.{name}.weight_g"] = 2 + weights.draw().abs()
        weights[f"vil_prediction.{name}.bias"] = weights.draw(rows)
    weights.linear("vil_logit", 1, width)
    weights.linear("vision_logit", 1, width)
    return weights


def run_single_stream(w: Weights, c: dict, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    visual = w.apply("bert.image_embeddings.image_embeddings", batch["image_feat"])
    visual = visual + w.apply("bert.image_embeddings.image_location_embeddings", batch["image_loc"])
    visual = w.normed(
        "bert.image_embeddings.LayerNorm", visual + w["bert.image_embeddings.token_type_embeddings.weight"][1]
    )
    states = torch.cat([w.text_start(batch), visual], 1)
    mask = torch.cat([batch["attention_mask"], batch["image_attention_mask"]], 1).double()
    for i in range(c["num_hidden_layers"]):
        states, _ = w.layered(f"bert.encoder.layer.{i}", states, mask, c["num_attention_heads"])
    pooled = w.apply("bert.pooler.dense", states[:, 0]).tanh()
    length = batch["input_ids"].shape[1]

    def weight_normed(name: str, x: Tensor) -> Tensor:
        v = w[f"{name}.weight_v"]
        return x @ (w[f"{name}.weight_g"] * v / v.square().sum().sqrt()).T + w[f"{name}.bias"]

    padding = -10000 * (1 - batch["image_attention_mask"].double())[..., None]
    return {
        "sequence_output": states,
        "pooled_output": pooled,
        "vil_prediction": weight_normed(
            "vil_prediction.main.3", weight_normed("vil_prediction.main.0", pooled).clamp(min=0)
        ),
        "vil_logit": w.apply("vil_logit", pooled),
        "vil_binary_prediction": w.apply("cls.seq_relationship", pooled),
        "vision_prediction": w.regions(states[:, length:]),
        "vision_logit": w.apply("vision_logit", states[:, length:]) + padding,
        "linguisic_prediction": w.tokens(states[:, :length]),
    }


def make_batch(seed: int, *, is_pretraining: bool) -> dict[str, Tensor]:
    """3 pairs, 7 tokens, 5 regions; the second text and the third image are padded."""
    g = torch.Generator().manual_seed(seed)
    corners = torch.rand(3, 5, 2, 2, generator=g).double().sort(dim=2).values.flatten(2)
    area = (corners[..., 2] - corners[..., 0]) * (corners[..., 3] - corners[..., 1])
    boxes = torch.cat([corners, area[..., None]], -1)
    boxes[:, 0] = torch.tensor([0, 0, 1, 1, 1], dtype=torch.double)
    batch = {
        "input_ids": torch.randint(1, 29, (3, 7), generator=g),
        "token_type_ids": torch.tensor([[0] * 4 + [1] * 3] * 3),
        "attention_mask": torch.ones(3, 7, dtype=torch.long),
        "image_feat": torch.randn(3, 5, 7, generator=g).double(),
        "image_loc": boxes,
        "image_attention_mask": torch.ones(3, 5, dtype=torch.long),
    }
    batch["attention_mask"][1, 5:] = 0
    batch["input_ids"][1, 5:] = 0
    batch["image_attention_mask"][2, 3:] = 0
    if is_pretraining:
        batch["masked_lm_labels"] = torch.full((3, 7), -1)
        batch["masked_lm_labels"][torch.tensor([0, 1, 2, 2]), torch.tensor([2, 1, 3, 6])] = torch.tensor([5, 17, 28, 2])
        batch["image_label"] = torch.tensor([[1, -1, -1, 1], [-1, 1, -1, -1], [1, -1, -1, -1]])
        batch["image_target"] = torch.randn(3, 4, 5, generator=g).softmax(-1).double()
        batch["next_sentence_label"] = torch.tensor([0, 1, 0])
    return batch


def write(name: str, kind: str, config: dict, weights: Weights, run) -> None:
    """One case in the fixtures' layout: <name>.safetensors and <name>.json."""
    batch = {key: value.float().double() if value.is_floating_point() else value
             for key, value in make_batch(3, is_pretraining=kind == "pretrain").items()}  # fmt: skip
    for key in weights:
        weights[key] = weights[key].float().double().requires_grad_()  # what the file can hold
    out = run(weights, config, batch)
    norms: dict[str, float | None] = {}
    if kind == "pretrain":
        (out["masked_lm_loss"] + out["masked_img_loss"] + out["next_sentence_loss"]).sum().backward()
        norms = {key: tensor.grad.norm().item() if tensor.grad is not None else None for key, tensor in weights.items()}
    tensors = {f"param/{key}": tensor.detach().float() for key, tensor in weights.items()}
    tensors["param/cls.predictions.decoder.weight"] = tensors["param/bert.embeddings.word_embeddings.weight"].clone()
    tensors |= {f"in/b1/{key}": value.float() if value.is_floating_point() else value for key, value in batch.items()}
    tensors |= {f"out64/b1/{key}": value.detach().contiguous() for key, value in out.items()}
    tensors |= {f"out/b1/{key}": value.detach().float().contiguous() for key, value in out.items()}
    DATA.mkdir(exist_ok=True)
    save_file(tensors, DATA / f"{name}.safetensors")
    description = {"kind": kind, "config": config, "grad_l2_f64_b1_sum_of_3_losses": norms}
    (DATA / f"{name}.json").write_text(json.dumps(description, indent=1) + "\n")


if __name__ == "__main__":
    write("two_stream", "pretrain", TWO_STREAM, two_stream_weights(TWO_STREAM), run_two_stream)
    write("single_stream", "baseline", SINGLE_STREAM, single_stream_weights(SINGLE_STREAM), run_single_stream)
