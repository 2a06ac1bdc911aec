"""The one training loop, written out: start reading at :func:`train`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sensorium import io
from sensorium.errors import PeerLost
from sensorium.fitting import checkpoint, precision, ranks, shared
from sensorium.fitting.batches import Sampler, Side, batches
from sensorium.fitting.budget import Budget
from sensorium.fitting.build import build
from sensorium.fitting.contexts import Contexts, ContextSide
from sensorium.fitting.display import Progress
from sensorium.fitting.environment import choose_device, interrupts, memory_budget, reseed, threads
from sensorium.fitting.finetune import Finetune, described, trained_encoders
from sensorium.fitting.fitted import Fitted
from sensorium.fitting.fused import FusedStep
from sensorium.fitting.history import History
from sensorium.fitting.nonfinite import not_finite
from sensorium.fitting.options import TrainOptions
from sensorium.fitting.schedule import learning_rate
from sensorium.fitting.set_validation import monitor
from sensorium.fitting.state import State
from sensorium.fitting.step import AutogradStep
from sensorium.fitting.warm_start import initialise
from sensorium.fitting.weights import Weights
from sensorium.numerics.threads import keep_freed_memory
from sensorium.pairs import Pairs, csr
from sensorium.pairs.positives import BatchPositives
from sensorium.pairs.set_positives import SetPositives, Together
from sensorium.progress import say
from sensorium.types import Embeddings

VALIDATIONS = 100  # about as many in a fit of more epochs than this, one an epoch in others


def train(
    left: Embeddings,
    right: Embeddings,
    pairs: Pairs,
    left_head: nn.Module,
    right_head: nn.Module | None,
    objective: nn.Module,
    options: TrainOptions,
    folder: Path | None = None,
    seed: int = 0,
    *,
    progress: bool = False,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    tensorboard: bool = False,
    finetune: Finetune | None = None,
    budget: Budget | None = None,
) -> Fitted:
    """Train both heads on the related training pairs, monitored on the validation pairs.

    Pairs of the split "train" (of all, when none is assigned) with label 1 are the positives.
    Within one table (``pairs.same_table``) left_head serves both sides. Heads without weights are
    built. folder: gets history.jsonl, checkpoint/ (from which the same call resumes after an
    interruption, bit for bit) and checkpoints/. on_epoch: called with every event; what it
    raises ends the fit, and KeyboardInterrupt saves first, as Ctrl-C does. finetune: raw items and encoders of the
    sides that are read anew and augmented in each step; left and right are then the vectors of the untrained encoders.
    budget: of time; None for ``options.seconds``. Where it ends or is stopped by Ctrl-C, the best weights so far are
    the result.

    All randomness of step s derives from (seed, s), so there is no generator state to save.

    Raises BadData on too few pairs, or when the loss is no longer finite (naming step and ids);
    Mismatch when ``folder`` holds the checkpoint of another fit, Corrupt when that is damaged.
    """
    budget = Budget.of(options.seconds) if budget is None else budget
    world = ranks.current()
    device = choose_device(options.device) if world is None else world.device(choose_device(options.device))
    training = pairs.where("train") if (pairs.split != "").any() else pairs
    related = training.where(label=1)
    sampler = Sampler(related, options, seed)
    right_head = left_head if pairs.same_table else right_head
    with threads(options.threads), torch.random.fork_rng(), interrupts(world is not None) as interrupted:
        keep_freed_memory()
        reseed(seed, device)
        build(left, right, related, left_head, right_head)
        if options.initialise != "none":
            initialise(options.initialise, left, right, pairs, left_head, right_head)
        tables, heads = (left, right), (left_head, right_head)
        known, known_heads, rates, through = tables, heads, {}, {}
        if finetune is not None:
            with torch.random.fork_rng():  # reading a model may draw numbers, once or not at all
                tables, heads, known, known_heads, rates, through = finetune.connect(tables, heads, seed, device)
            for line in described(through) if progress else ():
                say("fit", line)
        modules = [module.to(device) for module in (*heads, objective)]
        if world is not None:
            shared.check(heads, options, sampler.batch, world)
            world.interrupted = interrupted
        objective.prepare(*known, training, *known_heads)
        place, folder = folder, folder if world is None or not world.rank else None  # one process alone writes
        if folder:
            io.sweep(folder)
        saved_state = checkpoint.load(folder / "checkpoint") if folder else None
        before = saved_state and saved_state[1]["fit"].get("precision")
        before = before if world is None else world.tell(lambda: before)
        largest = max((p.numel() for m in modules for p in m.parameters() if p.ndim > 1), default=left_head.dim)
        dtype, reason = precision.choose(options.precision, device, before, sampler.batch * largest)
        shares = {parameter: rate / options.lr for parameter, rate in rates.items()}
        weights = Weights(modules, options.weight_decay, options.ema, device, shares)
        by = FusedStep if FusedStep.fits(modules, options, device) and dtype != torch.float16 else AutogradStep
        take_step = by(modules, weights, options, dtype, world)
        total = options.steps or options.epochs * sampler.steps
        state = State(weights, modules, folder, {
            "objective": type(objective).__name__, "seed": seed, **options.asdict(),
            "batch": sampler.batch, "accumulate": sampler.accumulate, "steps": total, "epoch_steps": sampler.steps,
            "pairs": len(related),
            "precision": str(dtype).removeprefix("torch."), "by": take_step.name, "parameters": weights.count,
            **({} if finetune is None else {"finetune": finetune.asdict()}),
        })  # fmt: skip
        state.scale = precision.LossScale.of(dtype)
        if saved_state:
            state.resume(saved_state)
            if progress:
                say("fit", f"going on at step {state.step:,} of {total:,}")
        if world is not None:
            state.share(world)
        sides, positives = _examples(*tables, training, related, device, take_step.inputs)
        validation = monitor(*known, *known_heads, pairs, options, device)
        validate_every = max(1, total // sampler.steps // VALIDATIONS)
        pairs_a_step = sampler.batch * sampler.accumulate
        history = History(folder, state.header, state.events, tensorboard)
        bar = Progress(total, state.step, progress)
        _training_mode(modules, True)
        over, stop = False, interrupted if world is None else partial(world.any_of, interrupted)
        part = slice(None) if world is None or options.mixup else world.part(sampler.batch)
        saved = started = time.perf_counter()
        try:
            for step in batches(sampler, sides, positives, state.step, total, part):
                if state.stopped:
                    break
                reseed((seed * 1_000_003 + state.step) % 2**63, device)
                weights.grad.zero_()
                loss = sum(take_step(batch, state.scale.factor / len(step)) for batch in step) / len(step)
                if world is not None:
                    world.sum(weights.grad)
                complete = state.scale.unscale(weights.grad, dtype == torch.float16)
                norm = weights.norm() if complete else 0.0
                if not (math.isfinite(loss) and math.isfinite(norm)):
                    raise not_finite(step, take_step, loss, norm, state, left, right, world)
                at = state.step
                if budget is not None:
                    spent = budget.spent() if world is None else world.first_number(budget.spent())
                    at = max(state.step, int(spent * (total - 1)))
                rate = learning_rate(at, total, options, state.watch.factor)
                if complete:
                    weights.update(rate, norm, options.clip)
                state.add(loss, time.perf_counter() - started)
                bar.show(state, pairs_a_step)
                if budget is not None:
                    if stop():
                        budget.stop()
                    over = budget.over() if world is None else bool(world.first_number(budget.over()))
                    over = over and state.step < total

                if state.step % sampler.steps == 0 or state.step == total or over:
                    state.whole = False
                    event = state.end_epoch(sampler.steps, pairs_a_step, rate)
                    epoch = event["epoch"]
                    _training_mode(modules, False)
                    with weights.evaluated():
                        if validation and (epoch % validate_every == 0 or state.step == total or over):
                            event |= validation.measure() if world is None else world.tell(validation.measure)
                            if state.watch.update(event["validation"], epoch, options):
                                state.keep_best()
                            state.stopped = state.watch.exhausted(options)
                        state.stopped = state.stopped or over
                        if folder and options.checkpoint_every and epoch % options.checkpoint_every == 0:
                            path = folder / "checkpoints" / f"epoch-{epoch:04d}.safetensors"
                            checkpoint.keep(path, state.named_values())
                    _training_mode(modules, True)
                    state.whole = True
                    history.add(event)
                    if on_epoch is not None:
                        on_epoch(event)
                if budget is None and stop():
                    raise KeyboardInterrupt
                started = time.perf_counter()  # of the next step, including the gathering of its batches
                if started - saved >= options.save_seconds:
                    state.save()
                    saved = started = time.perf_counter()
        except KeyboardInterrupt:
            state.save()
            raise
        except PeerLost as lost:
            raise state.rescued(lost, world, place) from None
        finally:
            bar.close()
            history.close()
        state.save()
        _training_mode(modules, False)
        if options.keep == "best" and state.best:
            state.load_values(state.best)
        elif weights.average is not None:
            weights.flat.copy_(weights.average)
        weights.release()
    for module in modules:
        module.to("cpu")
    notes = {"steps": state.step, "epochs": len(state.events), "best_epoch": state.watch.epoch,
             "validation": state.watch.best, "monitor": options.monitor, "stopped_early": state.stopped,
             **({"out_of_time": True} if over else {}), **({} if world is None else {"processes": world.size}),
             "precision": state.header["precision"], "precision_reason": reason, "by": take_step.name,
             "parameters": weights.count, **({"encoders": through} if rates else {})}  # fmt: skip
    return Fitted(left_head, right_head, history.events, notes, encoders=trained_encoders(heads, finetune))


def _examples(
    left: Embeddings, right: Embeddings, training: Pairs, related: Pairs, device: torch.device, inputs: list[Any]
) -> tuple[tuple[Any, Side], Any]:
    """Both sides' training inputs, and what finds the positives of a batch; contexts are read off the items' side."""
    budget = memory_budget(device)
    if not isinstance(left, Contexts):
        sides = tuple(Side(table, rows, device, budget, *change) for table, rows, change in
                      zip((left, right), (related.left, related.right), inputs, strict=True))  # fmt: skip
        return sides, BatchPositives(training)
    rows = csr.rows_of(left.completions.context.offsets, related.left)
    items = Side(right, np.append(left.completions.context.values[rows], related.right), device, budget, *inputs[1])
    together = Together(training.sets.where("train", 1), len(right))
    return (ContextSide(left, items), items), SetPositives(left.completions, together)


def _training_mode(modules: list[nn.Module], on: bool) -> None:
    for module in modules:
        module.train(on)
