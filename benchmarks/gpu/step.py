"""A step of pretraining alone, on batches that lie on the device already, as the training loop takes it.

The batches are of the commonest width: texts of up to 16 tokens, 36 regions and the whole image.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from transformers import AutoTokenizer

from benchmarks.gpu import pairs
from benchmarks.gpu.machine import Machine, Row
from extract.regions.store import RegionStore
from vilbert.batches.sampling import StepSampler
from vilbert.batches.tokens import TokenTable
from vilbert.model import attention
from vilbert.model.inputs import Batch
from vilbert.pretraining.building import build_pretraining_model
from vilbert.pretraining.data import PretrainingDataset
from vilbert.pretraining.evaluation import count_flops, count_items
from vilbert.training.devices import compile_layers, make_accelerator, uncompiled
from vilbert.training.feed import Step, on_device
from vilbert.training.learning_curves import OBJECTIVES
from vilbert.training.loop import loss_scales, make_optimizer, take_step
from vilbert.training.precision import choose_dtype

WIDTH = 16  # of the texts
NUM_BATCHES, NUM_ROUNDS = 4, 5
NUM_LINES = 30  # of a profile
NUM_UNTIL_REPEATED = 4  # passes: what a layer launches is warmed up, recorded, then repeated
TOLERANCE = 0.02  # of bfloat16


class Way(StrEnum):
    """Of taking a step."""

    eager = "eager"
    compiled = "compiled"
    graphs = "compiled, graphs"
    short = "compiled, graphs, short attention"


def measure_step(machine: Machine, way: Way) -> Iterator[Row]:
    """Raises: RuntimeError if something in a step waits for the GPU, at the place where it does."""
    model_settings, settings, runtime = pairs.settings(machine)
    tokens, tokenizer_path, store = pairs.files(machine)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_path)
    dataset = PretrainingDataset(
        TokenTable(tokens, split="train"),
        RegionStore([store]),
        tokenizer,
        objective=settings.objective,
        visual_target=model_settings.visual_target,
        seed=0,
        has_few_widths=True,
    )
    steps = make_steps(dataset, machine, batch_size=settings.optimizer.batch_size)
    torch.manual_seed(0)
    model: Any = build_pretraining_model(model_settings, tokenizer, num_classes=len(dataset.store.classes)).train()
    torch.compiler.reset()
    with short_attention(way is Way.short):
        if way is not Way.eager:
            backend = "inductor" if machine.device.type == "cuda" else "eager"
            compile_layers(model, backend=backend, has_graphs=way in (Way.graphs, Way.short))
        accelerator = make_accelerator(
            runtime, machine.folder, dtype=choose_dtype(runtime.dtype).dtype, has_unused_parameters=False
        )
        network, weights = accelerator.prepare(model, make_optimizer(model, settings.optimizer))
        scales = loss_scales(
            dict.fromkeys(OBJECTIVES, 1.0), dataset.expected_items(), batch_size=settings.optimizer.batch_size
        )

        def take(step: Step) -> Any:
            return take_step(
                accelerator, network, weights, step, scales=scales, learning_rate=1e-5, max_gradient_norm=1.0
            )

        start = time.perf_counter()
        take(steps[0])
        machine.synchronize()
        yield Row("first step", way, f"{time.perf_counter() - start:.1f} s")
        model.base_model.checks_values = False
        for step in steps:
            take(step)
        seconds = machine.seconds(lambda: [take(step) for step in steps], times=NUM_ROUNDS) / len(steps)
        flops = sum(float(count_flops(model.config, step.on_cpu[0])) for step in steps) / len(steps)
        rate = settings.optimizer.batch_size / seconds
        yield Row("step alone", way, f"{rate:,.0f} pairs/s, {1000 * seconds:.1f} ms")
        yield Row("step alone", way, machine.shares(flops / seconds / 1e12))
        if machine.device.type == "cuda":
            memory = torch.cuda.max_memory_allocated() / 2**30
            yield Row("step alone", way, f"{memory:.1f} GiB of memory at most")
            torch.cuda.reset_peak_memory_stats()
            machine.profiles[way], busy = profile_of(lambda: take(steps[0]))
            yield Row("step alone", way, f"{busy:.1f} ms of a step the GPU works")
            with waits_are_errors():
                take(steps[1])
            yield Row("step alone", way, "waits for the GPU nowhere")
        if way is Way.short:
            apart = losses_apart(accelerator, network, steps[0].batches[0])
            yield Row(
                "losses and norm of the gradient", way, f"{apart:.1e} of themselves from the plain layers' at most"
            )


def losses_apart(accelerator: Accelerator, network: nn.Module, batch: Batch) -> float:
    """How far the compiled layers' losses and gradient are from the plain ones', as a share, without dropout.

    Raises: AssertionError if that is more than rounding does.
    """
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for _ in range(NUM_UNTIL_REPEATED):
        ours = losses_and_norm(accelerator, network, batch)
    with uncompiled():
        plain = losses_and_norm(accelerator, network, batch)
    apart = float(((ours - plain) / plain).abs().max())
    assert apart < TOLERANCE, f"losses and norm of the gradient are {ours.tolist()}, plainly {plain.tolist()}"
    return apart


def losses_and_norm(accelerator: Accelerator, network: nn.Module, batch: Batch) -> Tensor:
    with accelerator.autocast():
        output = network(**batch)
    accelerator.backward(output.loss)
    norm = torch.nn.utils.get_total_norm([weight.grad for weight in network.parameters() if weight.grad is not None])
    network.zero_grad()
    return torch.stack([*output.losses.values(), norm]).detach().float().cpu()


def make_steps(dataset: PretrainingDataset, machine: Machine, *, batch_size: int) -> list[Step]:
    """The first few of the training whose texts have the commonest width."""
    sampler = StepSampler(dataset.tokens.sizes(), batch_size=batch_size, num_steps=10 * NUM_BATCHES, seed=0)
    steps: list[Step] = []
    for number, draws in enumerate(sampler, start=1):
        if len(steps) == NUM_BATCHES:
            break
        longest = max(len(dataset.tokens[draw.example]) for draw in draws)
        if WIDTH - 8 < longest <= WIDTH or machine.quick:
            batch = dataset.__getitems__(draws)
            counts = on_device(count_items(batch), machine.device)
            steps.append(Step(number, [on_device(batch, machine.device)], [batch], [counts]))
    return steps


@contextmanager
def short_attention(is_used: bool) -> Iterator[None]:
    before = attention.has_short_kernel
    attention.has_short_kernel = is_used
    try:
        yield
    finally:
        attention.has_short_kernel = before


@contextmanager
def waits_are_errors() -> Iterator[None]:
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def profile_of(take: Any) -> tuple[str, float]:
    """Where the GPU's time of a step goes, as a table, and how much that is, ms."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        take()
        torch.cuda.synchronize()
    found = profiled.key_averages()
    busy = sum(event.self_device_time_total for event in found if event.device_type.name == "CUDA") / 1000
    return found.table(sort_by="self_device_time_total", row_limit=NUM_LINES, max_name_column_width=70), busy
