"""Two streams that never meet: a text and an image are a vector each, and how well they fit is their product.

So an image is read once, whatever is asked of it later. The parts are a trained ViLBERT's own, cut where its streams
meet, as Zhang et al. 2021 cut a joint transformer (VLDeformer, https://arxiv.org/abs/2110.11338).

Dimension key:
    B: examples of a step   T: text tokens   R: regions (the first is the whole image)   E: width of an embedding
    M, N: texts and images of a step, the examples' own first   Q: examples that the teacher is asked of
    K: candidates, the right one first
"""

import math
from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather
from transformers.utils import ModelOutput

from vilbert.model.configuration_vilbert import VilbertConfig
from vilbert.model.layers import run_layers
from vilbert.model.modeling_vilbert import VilbertPreTrainedModel

CUT = ("co_layers.", "text_pooler.", "visual_pooler.")  # of a trunk, by the names of its weights
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.001, 0.5


@dataclass
class VilbertDualEncoderOutput(ModelOutput):
    """Embeddings of length 1; the losses by name and unweighted, and their sum."""

    loss: Tensor | None = None
    losses: dict[str, Tensor] | None = None  # contrastive, distillation
    text_embeddings: Tensor | None = None  # [M, E]
    image_embeddings: Tensor | None = None  # [N, E]


class VilbertDualEncoder(VilbertPreTrainedModel):
    """A text encoder and an image encoder, with a projection each and a learnt temperature."""

    def __init__(self, config: VilbertConfig):
        super().__init__(config)
        if config.text_co_layers:
            raise ValueError(
                f"the streams of a dual encoder never meet, text_co_layers are {config.text_co_layers}, expected none; "
                "`vilbert.dual_encoder_of` cuts a trained model"
            )
        self.vilbert = self.make_trunk()
        del self.vilbert.text_pooler, self.vilbert.visual_pooler  # which read token 0 and region 0 alone
        self.text_projection = nn.Linear(config.text_hidden_size, config.embedding_size)
        self.visual_projection = nn.Linear(config.visual_hidden_size, config.embedding_size)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.temperature)))
        self.post_init()

    @property
    def temperature(self) -> Tensor:
        """Within the bounds that ALBEF's code has, Li et al. 2021, https://arxiv.org/abs/2107.07651."""
        return self.log_temperature.exp().clamp(LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE)

    def embed_texts(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """[M, T] -> [M, E], each of length 1."""
        trunk = self.vilbert
        types = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        states = trunk.text_embeddings(input_ids, types, None)
        mask = attention_mask.bool()
        states = run_layers(trunk.text_layers, states, mask=mask[:, None, None])
        return pooled(self.text_projection(states), mask)

    def embed_images(self, visual_features: Tensor, visual_boxes: Tensor, visual_attention_mask: Tensor) -> Tensor:
        """[N, R, feature size], [N, R, 5] and [N, R] -> [N, E], each of length 1."""
        trunk = self.vilbert
        states = trunk.visual_embeddings(visual_features, visual_boxes)
        mask = visual_attention_mask.bool()
        states = run_layers(trunk.visual_layers, states, mask=mask[:, None, None])
        return pooled(self.visual_projection(states), mask)

    def forward(
        self,
        input_ids: Tensor,
        visual_features: Tensor,
        visual_boxes: Tensor,
        *,
        attention_mask: Tensor,
        visual_attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        image_ids: Tensor | None = None,
        image_candidates: Tensor | None = None,
        image_scores: Tensor | None = None,
        text_candidates: Tensor | None = None,
        text_scores: Tensor | None = None,
    ) -> VilbertDualEncoderOutput:
        """Args:
        input_ids, attention_mask: [M, T], the texts of the B examples, then others that are candidates.
        visual_features, visual_boxes, visual_attention_mask: [N, R, ...], their images, likewise.
        image_ids: int64 [B], the same for examples of one image.
        image_candidates: int64 [Q, K], for the text of some examples, rows of N, the right one first.
        image_scores: [Q, K], how well they fit, by the teacher, in logits.
        text_candidates, text_scores: the same for the image of each of them, rows of M.
        """
        texts = self.embed_texts(input_ids, attention_mask, token_type_ids)
        images = self.embed_images(visual_features, visual_boxes, visual_attention_mask)
        if image_ids is None:
            return VilbertDualEncoderOutput(text_embeddings=texts, image_embeddings=images)
        num = len(image_ids)
        losses = {"contrastive": contrastive_loss(texts[:num], images[:num], image_ids, temperature=self.temperature)}
        if image_candidates is not None and text_candidates is not None:
            assert image_scores is not None
            assert text_scores is not None
            right_texts, right_images = texts[text_candidates[:, 0]], images[image_candidates[:, 0]]
            losses["distillation"] = (
                distillation_loss(right_texts, images[image_candidates], image_scores, temperature=self.temperature)
                + distillation_loss(right_images, texts[text_candidates], text_scores, temperature=self.temperature)
            ) / 2
        return VilbertDualEncoderOutput(
            loss=torch.stack([*losses.values()]).sum(), losses=losses, text_embeddings=texts, image_embeddings=images
        )


def dual_encoder_of(
    teacher: VilbertPreTrainedModel, *, embedding_size: int, temperature: float = 0.07
) -> VilbertDualEncoder:
    """The text layers and the visual layers of a trained ViLBERT, without co-attention and poolers.

    Its projections are drawn from torch's generator.

    Raises: ValueError for a single stream, which has no part that sees the text or the image alone, or task tokens.
    """
    config = teacher.config
    if not isinstance(config, VilbertConfig):
        raise ValueError(f"a {type(teacher).__name__} has one stream, expected a ViLBERT of two, which can be cut")
    if config.num_task_tokens:
        raise ValueError(f"the model has {config.num_task_tokens} task tokens, which retrieval has no use for")
    cut = {"text_co_layers": (), "visual_co_layers": ()}
    of_projections = {"embedding_size": embedding_size, "temperature": temperature}
    student = VilbertDualEncoder(VilbertConfig.from_dict(config.to_dict() | cut | of_projections))
    weights = teacher.base_model.state_dict()
    student.vilbert.load_state_dict({name: weight for name, weight in weights.items() if not name.startswith(CUT)})
    return student


def contrastive_loss(texts: Tensor, images: Tensor, image_ids: Tensor, *, temperature: Tensor) -> Tensor:
    """InfoNCE both ways, over the examples of all processes; captions of one image share its probability.

    Args:
        texts, images: [B, E] of this process.
    Source: ALBEF (Li et al. 2021) and its code, whose momentum model and queue of earlier examples are left out.
    """
    all_texts, all_images, all_ids = gathered(texts), gathered(images), gathered(image_ids)
    is_right = (image_ids[:, None] == all_ids).float()
    targets = is_right / is_right.sum(dim=1, keepdim=True)
    to_images = F.cross_entropy(texts @ all_images.T / temperature, targets)
    to_texts = F.cross_entropy(images @ all_texts.T / temperature, targets)
    return (to_images + to_texts) / 2


def distillation_loss(queries: Tensor, candidates: Tensor, scores: Tensor, *, temperature: Tensor) -> Tensor:
    """KL divergence from the teacher's distribution over the candidates to the student's, the mean of the queries.

    torch's own default divides by the candidates as well, and the term would be K times smaller.

    Args:
        queries: [Q, E].
        candidates: [Q, K, E].
        scores: [Q, K].
    Source: Hinton et al. 2015, https://arxiv.org/abs/1503.02531, over the candidates that a search would re-rank.
    """
    products = (candidates @ queries[:, :, None]).squeeze(-1) / temperature
    return F.kl_div(products.log_softmax(-1), scores.float().softmax(-1), reduction="batchmean")


def gathered(tensor: Tensor) -> Tensor:
    """[B, ...] of every process one after another; the gradient flows back to each."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return tensor
    if tensor.requires_grad:
        return torch.cat(all_gather(tensor))
    parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, tensor)
    return torch.cat(parts)


def pooled(vectors: Tensor, mask: Tensor) -> Tensor:
    """[N, Q, E] and [N, Q] -> [N, E] float32 of length 1, of each number the greatest that is not padding.

    So a number can say whether something is there, whatever else is.

    Source: Chen et al. 2021, https://arxiv.org/abs/2011.04305, who find it better than what is more complex.
    """
    greatest = vectors.float().masked_fill(~mask[..., None], -torch.inf).amax(dim=1)
    return F.normalize(greatest, dim=-1)
