"""Fingerprint: a model's outputs on a probe set, with provenance. Made, read and saved without importing torch."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import FileFormatError, FingerprintError
from .formats.recorded import check_provenance
from .io.choices import Backend, Comparison, Metric, check_choice
from .io.container import load_container, save_container
from .io.files import StrPath
from .models.described_run import checked_array, checked_provenance, describe_run
from .models.form_detection import detect_output_form, form_of
from .models.kinds import KINDS
from .models.plain_forms import reason_of_ties
from .models.preprocessing import Named, Preprocessing
from .models.shown import ShownOutputs
from .probes import Probes

if TYPE_CHECKING:
    import torch

    from .models import BlackBox, OpenedModel
    from .models.common_form import CommonForm, FormedOutputs
    from .models.runner import Model


@dataclass(frozen=True, eq=False, init=False)
class Fingerprint(ShownOutputs):
    """Outputs of one model on one probe set.

    Args:
        outputs: float32 or float64 ``(n, k)``, finite: a tensor or an array.
        provenance: see below.

    Attributes:
        array: the outputs as an array.
        provenance: JSON values: ``name``, ``model_hash`` (None for callables without weights), ``probe_hash``,
            ``probes`` (summary), ``preprocessing`` and ``preprocessing_hash``, ``output``, ``dtype``, ``versions``,
            ``created`` (UTC), ``kind``, ``output_form``, ``output_form_declared``, ``notes``, ``accuracy`` (on labelled
            probes) and ``checkpoint`` (see `OpenedModel`). Only ``name`` and ``probe_hash`` are required. A form that
            outputs cannot have is refused.

    Raises:
        FingerprintError: invalid outputs or provenance.

    Example::

        >>> import torch
        >>> from sac_fast import Fingerprint
        >>> about = {"name": "mine", "probe_hash": "sha256:" + "0" * 64}
        >>> outputs = torch.tensor([[2.0, -1.0, 0.0], [0.0, 4.0, 1.0], [1.0, 1.0, 3.0]])
        >>> mine = Fingerprint(outputs, about)
        >>> mine
        Fingerprint('mine', 3 probes × 3 outputs (logits), probes sha256:000000000000…)
        >>> mine.distance(Fingerprint(2 * outputs, {**about, "name": "scaled"}))
        0.0
        >>> mine.distance(Fingerprint(outputs.argmax(1).float()[:, None], {**about, "name": "labels only"}))
        0.0
    """

    array: NDArray[Any]
    provenance: dict[str, Any]

    def __init__(self, outputs: torch.Tensor | NDArray[Any], provenance: Mapping[str, Any]) -> None:
        if not isinstance(outputs, np.ndarray):
            vars(self)["outputs"] = outputs = outputs.detach().cpu()
        object.__setattr__(self, "array", checked_array(outputs))
        object.__setattr__(self, "provenance", checked_provenance(provenance, self.array))

    @functools.cached_property
    def outputs(self) -> torch.Tensor:
        """The outputs ``(n, k)``, on the CPU."""
        import torch

        return torch.from_numpy(self.array if self.array.flags.writeable else self.array.copy())

    @property
    def name(self) -> str:
        """Name of the model."""
        return str(self.provenance["name"])

    @property
    def probe_hash(self) -> str:
        """`ProbeSet.content_hash` of the probes."""
        return str(self.provenance["probe_hash"])

    @property
    def model_hash(self) -> str | None:
        """`weights_hash` of the model; None if it has no weights that can be hashed."""
        value = self.provenance.get("model_hash")
        return None if value is None else str(value)

    @property
    def kind(self) -> str | None:
        """One of `KINDS`: what the model has in common with the source; None if undeclared."""
        value = self.provenance.get("kind")
        return None if value is None else str(value)

    def with_kind(self, kind: str | None) -> Fingerprint:
        """A copy that declares another kind.

        Args:
            kind: one of `KINDS`, or None for undeclared.

        Raises:
            FingerprintError: an unknown kind.
        """
        return Fingerprint(self.array, {**self.provenance, "kind": kind})

    @functools.cached_property
    def output_form(self) -> str:
        """One of `sac_fast.models.output_form.OUTPUT_FORMS`, from the provenance; else `detect_output_form`."""
        value = self.provenance.get("output_form")
        return detect_output_form(self.array) if value is None else str(value)

    @property
    def is_form_declared(self) -> bool:
        """Whether somebody said the form; else the values were looked at."""
        known = self.provenance.get("output_form") is not None
        return known and bool(self.provenance.get("output_form_declared", True))

    @property
    def formed(self) -> FormedOutputs:
        """The outputs with their form and whether it was declared, as `common_form` takes them."""
        from .models.common_form import FormedOutputs

        return FormedOutputs(self.outputs, self.output_form, self.is_form_declared)

    def __len__(self) -> int:
        return len(self.array)

    def __repr__(self) -> str:
        n, k = self.array.shape
        what = f"{n} probes × {k} outputs ({self.output_form})"
        return f"Fingerprint({self.name!r}, {what}, probes {self.probe_hash[:19]}…)"

    def distance(
        self,
        suspect: Fingerprint,
        *,
        metric: Metric = "cosine",
        comparison: Comparison = "l1",
        backend: Backend = "auto",
    ) -> float:
        """`sac_fast.correlation_distance` of the two models' outputs, in the form that both can be brought to.

        Args:
            suspect: fingerprint on the same probes; k, form and preprocessing may differ.
            metric, comparison, backend: as there.

        Returns:
            The distance, 0.0 for identical models.

        Raises:
            FingerprintError: fingerprints of different probe sets, forms that cannot be compared, or outputs whose
                correlations are all equal.
        """
        from .ops import correlation_distance

        self.check_same_probes(suspect)
        shared = self.common_form(suspect)
        mine, theirs = shared.rows(self.formed), shared.rows(suspect.formed)
        for name, rows in ((self.name, mine), (suspect.name, theirs)):
            if reason := reason_of_ties(rows, metric):
                raise FingerprintError(f"outputs of {name!r} ({shared.describe()}) must vary to be compared: {reason}")
        return float(correlation_distance(mine, theirs, metric=metric, comparison=comparison, backend=backend))

    def common_form(self, suspect: Fingerprint) -> CommonForm:
        """The form that the outputs of both can be brought to.

        Raises:
            FingerprintError: there is none.
        """
        from .models.common_form import common_form

        try:
            return common_form([self.formed, suspect.formed])
        except ValueError as error:
            names = f"{suspect.name!r} ({suspect.output_form}) cannot be compared with {self.name!r}"
            raise FingerprintError(
                f"{names} ({self.output_form}): {error}; output_form declares another form"
            ) from error

    def check_same_probes(self, suspect: Fingerprint) -> None:
        """Raise a FingerprintError if `suspect` is of another probe set."""
        if suspect.probe_hash != self.probe_hash or len(suspect) != len(self):
            raise FingerprintError(
                f"suspect {suspect.name!r} must be of the same probes as {self.name!r}: {self.probe_hash} "
                f"({len(self)} rows), got {suspect.probe_hash} ({len(suspect)} rows)"
            )

    def save(self, path: StrPath) -> None:
        """Write outputs and provenance to one safetensors file, atomically.

        Raises:
            OSError: the folder does not exist or cannot be written to.
        """
        save_container(path, "fingerprint", {"outputs": self.array}, {"provenance": self.provenance})

    @classmethod
    def load(cls, path: StrPath) -> Fingerprint:
        """Read a file written by `save` and check its hash.

        Raises:
            FileFormatError: damaged, truncated, or not a fingerprint.
        """
        arrays, metadata = load_container(path, "fingerprint")
        try:
            outputs = arrays.pop("outputs")
            if arrays:
                raise ValueError(f"other arrays {sorted(arrays)}")
            check_provenance(metadata["provenance"])
            return cls(outputs, metadata["provenance"])
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise FileFormatError(f"{str(path)!r} must hold a fingerprint, got {error}") from error


def fingerprint(
    model: Model | OpenedModel | BlackBox,
    probes: Probes,
    *,
    preprocessing: Named | None = None,
    batch_size: int = 64,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    output: int | str | None = None,
    name: str | None = None,
    kind: str | None = None,
    output_form: str | None = None,
    progress: bool = False,
) -> Fingerprint:
    """Run a model on probes and return its outputs with provenance.

    Args:
        model: an `nn.Module`, any callable from a batch of inputs to outputs, or the result of `open_model`. Recorded
            outputs are used unchanged, unless they name other probes.
        probes: the images; or `RecordedInputs`, which the model is given as they are.
        preprocessing: what is named is believed; ``"auto"``: no, ImageNet's or ±1's mean and std, or what lies beside
            the model's file, whichever serves the probes' labels best, or without labels tells most apart.
        batch_size, device, dtype, output, progress: see `sac_fast.models.run_model`.
        name: name of the model. Default: the name of its class or function.
        kind: one of `KINDS`: what the model has in common with the source. Default: undeclared.
        output_form: one of `sac_fast.models.output_form.OUTPUT_FORMS`. Default: what recorded outputs state,
            ``"similarities"`` of a `ReferenceSimilarity`, else detected.

    Returns:
        The fingerprint.

    Raises:
        ModelError: the model fails, or its outputs cannot be used or cannot have the declared form.
        ValueError: an unknown kind.

    Example::

        >>> import numpy as np
        >>> from sac_fast import ProbeSet, fingerprint
        >>> probes = ProbeSet.from_arrays(np.arange(4 * 6 * 6 * 3, dtype=np.uint8).reshape(4, 6, 6, 3))
        >>> def channel_means(batch):
        ...     return batch.mean(dim=(2, 3))
        >>> fingerprint(channel_means, probes).outputs.shape
        torch.Size([4, 3])
    """
    from torch import nn

    from .models import BlackBox, OpenedModel, ReferenceSimilarity, weights_hash
    from .models.asking import Asked, ask_model, ask_outputs, default_name
    from .models.output_form import notes_of

    if kind is not None:
        check_choice("kind", kind, KINDS)
    # Hash first: an error then costs no run, and a model that changes its weights is recorded as it was before.
    if isinstance(model, nn.Module):
        model_hash: str | None = weights_hash(model)
    else:
        model_hash = model.model_hash if isinstance(model, OpenedModel) else None
    output = model.output if output is None and isinstance(model, OpenedModel) else output
    declared = output_form
    named = preprocessing if isinstance(preprocessing, Preprocessing) else Preprocessing()
    if isinstance(model, BlackBox):
        asked = Asked(model.ask(probes, progress=progress), named)
        declared = declared or model.form_of(asked.outputs)
    elif isinstance(model, OpenedModel) and model.recorded:
        asked = ask_outputs(model, probes, named)
    else:
        how = {"batch_size": batch_size, "device": device, "dtype": dtype, "output": output, "progress": progress}
        asked = ask_model(model, probes, preprocessing or named, **how)
    outputs = asked.outputs
    if declared is None:
        stated = model.output_form if isinstance(model, OpenedModel) else None
        declared = "similarities" if isinstance(model, ReferenceSimilarity) else stated
    form = form_of(outputs, declared)
    provenance = describe_run(
        outputs.detach().cpu().numpy(),
        probes,
        name=name or default_name(model),
        model_hash=model_hash,
        asked=asked.provenance(),
        output=output,
        dtype=None if dtype is None else str(dtype).removeprefix("torch."),
        kind=kind,
        form=form,
        is_declared=declared is not None,
        notes=[*(model.notes if isinstance(model, OpenedModel) else ()), *asked.notes, *notes_of(outputs, form)],
    )
    if isinstance(model, OpenedModel) and model.weights:
        provenance["checkpoint"] = model.weights
    if isinstance(model, BlackBox):
        provenance["service"] = model.summary()
    return Fingerprint(outputs, provenance)
