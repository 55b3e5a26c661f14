# SPDX-License-Identifier: MIT
"""Give a model to other towers, and get it from them, by BitTorrent.

The engine is Debian's python3-libtorrent. It is told the addresses of its peers, so it needs no tracker; it looks for
no others, and refuses whoever is none. The SHA-1 of pieces proves nothing about where they came from, so what was
received is for model_fetch to prove.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..progress import Progress
from .declaration import file_names
from .distribution import Pieces, piece_bytes, torrent
from .document import ResolvedModel
from .share import Share, Shared, ShareError, SwarmPlace, at_port, forget, numeric, own_address
from .uncached import hash_uncached

# Seconds for which a tower that sees all complete stays, so that the others see it too.
LINGER = 4
# Seconds without progress after which the only tower that has it offers all of it to whoever asks.
STALL = 5
# libtorrent's torrent_flags::upload_mode.
UPLOAD_MODE = 2


def torrent_of(model: ResolvedModel, store: Path, progress: Progress) -> str:
    """The torrent of a model that the store has, in base64. Leaves no page of it in the page cache."""
    size = piece_bytes(model["bytes"])
    pieces, before = Pieces(size), 0
    for entry, name in zip(model["files"], file_names(model)):
        hash_uncached(
            str(store / model["name"] / name),
            pieces,
            lambda done, before=before: progress.tell(  # type: ignore[misc]
                f"describing {model['name']} for the others:", before + done, model["bytes"], "bytes"
            ),
        )
        before += entry["size"]
    return base64.b64encode(torrent(model, pieces.digest(), size)).decode()


def _session(libtorrent: Any, own: str, port: int, others: Iterable[str]) -> Any:
    """The engine at one address, which answers these others and asks nobody else."""
    allowed = libtorrent.ip_filter()
    allowed.add_rule("0.0.0.0", "255.255.255.255", 1)
    allowed.add_rule("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1)
    for peer in others:
        allowed.add_rule(peer, peer, 0)
    # Who feeds the others piece by piece gives a tower the next when the last was passed on. Otherwise it gives as fast
    # as it can: to three towers at 160 Mb/s 1.5 times the model in 15 s, and so 1.05 times in 11 s. Newer ones lack it.
    waits = {"strict_super_seeding": True} if "strict_super_seeding" in libtorrent.default_settings() else {}
    session = libtorrent.session(
        {
            "listen_interfaces": at_port(own, port),
            "listen_system_port_fallback": False,
            "outgoing_interfaces": own,
            **dict.fromkeys(("enable_dht", "enable_lsd", "enable_upnp", "enable_natpmp"), False),
            # Complete towers stay connected, since that is how each knows of the others that they are.
            "close_redundant_connections": False,
            "max_retry_port_bind": 0,
            "alert_mask": 0,
            "unchoke_slots_limit": -1,
            "in_enc_policy": 2,
            "out_enc_policy": 2,
            **waits,
        }
    )
    session.set_ip_filter(allowed)
    return session


def share(given: Share, metadata: str, progress: Progress) -> Shared:
    """Share until every tower has all of it, or the patience has run out."""
    model, store, port = given.model, given.store, given.port
    try:
        import libtorrent  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise ShareError("The tower's Python lacks libtorrent: install python3-libtorrent.") from error
    own, others = own_address(given), {numeric(peer): name for name, peer in given.peers.items()}
    session = _session(libtorrent, own, port, others)
    info = libtorrent.torrent_info(libtorrent.bdecode(base64.b64decode(metadata)))
    added, place = libtorrent.add_torrent_params(), None
    added.save_path = str(store)
    flags = libtorrent.torrent_flags
    # These replace the default flags, of which the filter is one: without it, anybody is answered.
    added.flags = flags.apply_ip_filter | flags.disable_dht | flags.disable_lsd | flags.disable_pex
    if not given.receive:
        for number, name in enumerate(file_names(model)):
            info.rename_file(number, f"{model['name']}/{name}")
        added.flags |= flags.seed_mode
        if not given.peers.keys() & given.givers:  # it is the only one
            added.flags |= flags.super_seeding
    else:
        place = SwarmPlace(store, model)
        place.open()
    added.ti = info
    handle = session.add_torrent(added)
    try:
        # Who feeds the others piece by piece (super-seeding) does not tell that it has them all.
        complete = {address for address, name in others.items() if name in given.givers}
        found = _until_all_have_it(handle, given, others, complete, progress, flags.super_seeding)
        if not session.is_listening():
            raise ShareError(f"{at_port(own, port)} cannot be listened at: set model_store_port to a free one.")
    finally:
        whole = handle.status().is_seeding
        session.remove_torrent(handle)
        del handle, session  # waits until the engine has closed the files
        if place:
            place.close(whole)
        else:
            forget(model, store)
    if not whole:
        raise given.nothing_came()
    return found


def _until_all_have_it(
    handle: Any, given: Share, others: dict[str, str], complete: set[str], progress: Progress, super_seeding: int
) -> Shared:
    model, moved = given.model, time.monotonic()
    before: tuple[int, ...] = ()
    ended = called = 0.0
    while True:
        now = time.monotonic()
        seen = {peer.ip[0]: peer for peer in handle.get_peer_info()}
        complete |= {address for address, peer in seen.items() if peer.flags & peer.seed}
        status = handle.status()
        # Nobody has set it: the engine does where it cannot write.
        if status.flags & UPLOAD_MODE:
            raise given.disk_is_full()
        if now - called > 2:
            for address in others.keys() - seen.keys() - complete:
                handle.connect_peer((address, given.port))
            called = now
        state = (int(status.total_done), int(status.total_payload_upload), len(complete), int(status.state))
        checking = status.state in (status.checking_files, status.checking_resume_data)
        if state != before or checking:
            before, moved = state, now
        elif status.total_payload_upload and now - moved > STALL:
            # What a tower took with it when it was switched off is passed on by nobody.
            handle.unset_flags(super_seeding)
        if status.is_seeding:
            label = f"sharing {model['name']}, towers that have it:"
            progress.tell(label, len(complete & others.keys()) + 1, len(others) + 1, "towers")
        else:
            verb = "reading again what is there of" if checking else "receiving"
            progress.tell(f"{verb} {model['name']}:", status.total_done, model["bytes"], "bytes")
        everyone = status.is_seeding and others.keys() <= complete
        ended = (ended or now) if everyone else 0.0
        if (everyone and now - ended > LINGER) or now - moved > given.patience:
            unfinished = [name for address, name in others.items() if address not in complete]
            return Shared(int(status.total_payload_download), int(status.total_payload_upload), unfinished)
        time.sleep(0.25)
