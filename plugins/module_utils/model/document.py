# SPDX-License-Identifier: MIT
"""The documents of models: what is declared, resolved, locked, kept and planned, and what a GGUF header says.

All sizes are bytes, all times seconds since 1970 unless a name says otherwise, all hashes SHA-256 in lower-case hex.
"""

from __future__ import annotations

from typing import Any, TypedDict


class _Named(TypedDict):
    name: str


class Declaration(_Named, total=False):
    """One model of ``model_store_models``: its ``name``, and one source as :data:`declaration.SOURCES` has them.

    ``repo`` (organization/name on the hub) with ``revision`` and ``files`` (a pattern); ``url`` with ``sha256``; or
    ``path`` (a file, the first of its shards, a directory or a pattern on the tower), with ``sha256`` where it is one
    file that is not locked.
    """

    repo: str
    revision: str
    files: str
    path: str
    url: str
    sha256: str


class _Kept(TypedDict):
    elements: int
    window_elements: int
    window: int
    state_bytes: int


class Compressed(TypedDict):
    """A cache in which every ``ratio`` tokens are one, for which there are ``elements`` numbers."""

    ratio: int
    elements: int


class KvGeometry(_Kept, total=False):
    """What a model keeps for each token, read from its header by :func:`kv_geometry.geometry`.

    ``elements`` are numbers kept for a token by the layers that see the whole context (keys and values, or one latent),
    ``window_elements`` those of layers that see a sliding window of ``window`` tokens, and ``state_bytes`` the state of
    recurrent layers for one request, which no context makes larger. Where layers differ in their values, all have
    those of the largest without flash attention: ``value_padding`` and ``window_value_padding`` numbers more.
    ``compressed`` are caches of several tokens in one, which few have.
    """

    value_padding: int
    window_value_padding: int
    compressed: list[Compressed]


class ComputeGeometry(TypedDict):
    """What llama.cpp computes in for each token of a batch, read from a header by :func:`compute_buffers.geometry`.

    ``heads`` are the query heads of the layer with most, ``width`` the numbers that go from layer to layer,
    ``feed_forward`` and ``mixing`` those that the widest feed-forward (of experts those in use) and the widest
    attention or recurrent layer have at once, and ``vocabulary`` the tokens that there are. The engine has room for
    ``nodes`` of its graph, or for ``token_nodes`` for each token of a batch, whichever are more. ``flash_attention`` is
    whether it has that for this architecture.
    """

    heads: int
    width: int
    feed_forward: int
    mixing: int
    vocabulary: int
    nodes: int
    token_nodes: int
    flash_attention: bool


class Gguf(TypedDict):
    """What the headers of a model say, by :func:`gguf.summary`; null is what they do not tell.

    ``quantization`` is the tensor type of most bytes, ``file_type`` what the file calls itself; ``bytes_by_type`` has
    bytes by tensor type, ``active_bytes`` the bytes of weights that a token reads, ``ahead_bytes`` those of layers that
    predict tokens ahead, which it does not, and ``kv_bytes_per_token`` bytes by the type of the KV cache.
    ``expert_used_count`` is that of the layer with most. Of an architecture that is not known ``kv`` is the most that
    it keeps, and ``kv_least`` the least, which is null of those that are. ``compute``, ``ahead_bytes`` and ``kv_least``
    are not in what was written before they were counted.
    """

    architecture: str | None
    name: str | None
    quantization: str | None
    file_type: str | None
    bytes_by_type: dict[str, int]
    parameters: int
    active_bytes: int
    ahead_bytes: int
    block_count: int | None
    context_length: int | None
    expert_count: int | None
    expert_used_count: int | None
    kv: KvGeometry | None
    kv_least: KvGeometry | None
    kv_bytes_per_token: dict[str, int] | None
    compute: ComputeGeometry | None


class GgufInfo(Gguf):
    """What gguf_info returns: that, the paths it was read from (``source``), the metadata of the first file, and
    the table of all tensors (:class:`gguf.Tensor` as a dictionary) where it was asked for."""

    source: list[str]
    metadata: dict[str, Any]
    tensors: list[dict[str, Any]] | None


class SourceFile(TypedDict):
    """A file as its source has it: ``file`` is its path in the repository or on the tower, or its URL.

    Where headers alone were asked for, ``sha256`` may be null.
    """

    file: str
    size: int
    sha256: str


class StoredFile(SourceFile):
    """A file in the store, by its name there, and the time that it had when its hash was proven."""

    mtime_ns: int


class ResolvedModel(TypedDict):
    """A declared model with what its source says: an entry of the lock file, and of what model_source_info returns.

    ``source`` is the declaration without its name, and its URL, here and in ``files``, without what may be a secret;
    ``commit`` is null for files and URLs; ``bytes`` is the sum of all sizes.
    """

    name: str
    source: dict[str, str]
    commit: str | None
    bytes: int
    files: list[SourceFile]
    gguf: Gguf


class LockDocument(TypedDict):
    """The lock file: ``schema_version`` is :data:`lock.SCHEMA_VERSION`, and the models are in the order of their names.

    Written by llamatower.tower.lock, read by whoever deploys.
    """

    schema_version: int
    models: list[ResolvedModel]


class Manifest(TypedDict):
    """``manifest.json`` beside the files of a model in the store, all of whose hashes were proven.

    ``schema_version`` is :data:`store.SCHEMA_VERSION`. Written by model_fetch; model_verify mends the times.
    """

    schema_version: int
    name: str
    source: dict[str, str]
    commit: str | None
    files: list[StoredFile]
    bytes: int
    gguf: Gguf


class Verified(TypedDict):
    """``verified.json`` beside it: when its files were last hashed (null where never), and by file what was ``wrong``:
    the SHA-256 that it had instead of its own, or null where it could not be read."""

    schema_version: int
    time: int | None
    wrong: dict[str, str | None]


class StoredModel(TypedDict):
    """One declared model as model_store_info finds it.

    ``state`` is ``present``, ``absent`` or ``changed``, with the ``reason`` of the last; ``locked`` is its entry in the
    lock file; ``verified`` is when all its files were last hashed; ``intact`` has the SHA-256 of those that are there
    unchanged, and ``partial_bytes`` what an unfinished fetch left.
    """

    name: str
    source: dict[str, str]
    state: str
    reason: str | None
    locked: ResolvedModel | None
    verified: int | None
    manifest: Manifest | None
    intact: list[str]
    partial_bytes: int


class PlanEntry(TypedDict):
    """One model of ``model_store_plan``, which roles hand on.

    Made of :class:`StoredModel` and, where the store does not hold it, of what the lock or its source says.
    ``missing_bytes`` are still to come.
    """

    name: str
    state: str
    reason: str | None
    locked: bool
    verified: int | None
    source: dict[str, str]
    commit: str | None
    files: list[SourceFile] | list[StoredFile]
    bytes: int
    gguf: Gguf
    missing_bytes: int


class SharedModel(TypedDict):
    """A model that towers share: the ``seed`` is the tower that fetches it or has it, ``towers`` are all that share it,
    the seed among them, and ``donors`` those of them that have it."""

    name: str
    seed: str
    towers: list[str]
    donors: list[str]


class DistributionPlan(TypedDict):
    """How the models that towers lack get to them: ``way`` is ``direct``, ``rsync`` or ``swarm``, and ``reason`` says
    why, with an estimate for 1 Gb/s."""

    way: str
    reason: str
    models: list[SharedModel]


class HashedFile(TypedDict):
    """A file of a manifest that was hashed again: ``state`` is ``ok``, ``wrong``, ``missing`` or ``unreadable``,
    ``sha256`` is what the manifest has and ``found`` what it has now, or null; ``mtime_ns`` is the time that it had
    before it was read."""

    file: str
    sha256: str
    state: str
    found: str | None
    mtime_ns: int | None


class HashedModel(TypedDict):
    """What model_verify found of a model, and when."""

    name: str
    time: int
    files: list[HashedFile]


class Held(TypedDict):
    """What a store has of a name, unfinished fetches of it included."""

    name: str
    bytes: int


class _TypeSizes(TypedDict):
    bytes: int
    active_bytes: int


class TypeSizes(_TypeSizes, total=False):
    """Sizes of a model in another type, with source and date of ``bytes`` where that is a published figure: what a
    token reads of it is then an estimate."""

    source: str
    date: str


class _Sized(TypedDict):
    name: str
    parameters: int
    bytes: int
    active_bytes: int
    layers: int | None
    context: int | None
    kv: KvGeometry | None


class ModelEntry(_Sized, total=False):
    """A model of catalog/models.yml, or what model_source_info resolved.

    ``bytes`` are all weights and ``active_bytes`` those that a token reads; ``context`` is what the model was made for;
    ``files`` is a pattern in the repository ``repo`` of the hub, and names the type where there is no ``quantization``.
    Without ``compute`` what it is computed in is taken for that of the largest models. ``source`` and ``date`` are of
    the configuration that its figures were made of, and ``types`` its sizes in other types.
    """

    experts: bool
    source: str
    date: str
    types: dict[str, TypeSizes]
    compute: ComputeGeometry | None
    active_parameters: int
    quantization: str | None
    repo: str
    files: str
