"""The images of one shard: python -m extract.download.shard ROWS CAPTIONS OUT_TAR OUT_TABLE OUT_STATS."""

import asyncio
import tarfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from extract.command import run
from extract.download.fetch import Fetcher, open_session
from extract.download.journal import Journal, Limits
from extract.download.shard_files import ShardTar, image_columns, write_images_table, write_stats
from extract.download.site import Site
from extract.images.decoder import Decoders
from extract.reasons import DownloadFailure, DownloadReason
from extract.settings import DownloadSettings
from extract.tables import CAPTIONS, ROWS, read_rows, whole_file

NUM_DECODERS = 2  # processes, and threads that wait for them


def main(
    rows: Path,
    captions: Path,
    tar: Path,
    table: Path,
    stats: Path,
    journal: Annotated[Path, typer.Option(help="folder that remembers what has arrived")],
    settings: Annotated[DownloadSettings, typer.Option(parser=DownloadSettings.model_validate_json)],
    site: Annotated[Path | None, typer.Option(help="folder that download.mirror 'site' serves")] = None,
) -> None:
    """Fetch the images of a shard's rows whose captions are kept."""
    download_shard(rows, captions, tar, table, stats, journal=journal, settings=settings, site=site)


def download_shard(
    rows: Path,
    captions: Path,
    tar: Path,
    table: Path,
    stats: Path,
    *,
    journal: Path,
    settings: DownloadSettings,
    site: Path | None,
) -> None:
    """Fetch what the journal lacks, then write the shard's files.

    Raises: ValueError without a contact for real hosts, or a site for the mirror 'site', or where next to nothing
        arrived.
    """
    if settings.mirror is None and settings.contact is None:
        raise ValueError(
            "download.contact is null: give a url or an e-mail address that the hosts' owners can write to"
        )
    if settings.mirror == "site" and site is None:
        raise ValueError("download.mirror is 'site', but there is no --site folder to serve")
    start_time = time.time()
    listed = read_rows(rows, ROWS)
    is_kept = {row["key"]: row["reason"] is None for row in read_rows(captions, CAPTIONS)}
    wanted = list(dict.fromkeys(row["url"] for row in listed if is_kept[row["key"]] and row["url"] is not None))
    with Journal(journal, limits=Limits.of(settings), max_side=settings.max_side) as known:
        asyncio.run(fetch_all([url for url in wanted if url not in known], known, settings=settings, site=site))
        known.finish()
        image_rows = write_tar(tar, listed, known)
    write_images_table(table, image_rows)
    write_stats(stats, image_rows, start_time=start_time, end_time=time.time())
    demand_success(image_rows, num_wanted=len(wanted), min_success=settings.min_success)


async def fetch_all(urls: list[str], journal: Journal, *, settings: DownloadSettings, site: Path | None) -> None:
    """Fetch, check and note each of `urls`."""
    async with AsyncExitStack() as stack:
        mirror = settings.mirror
        if mirror == "site" and site is not None:
            mirror = (await stack.enter_async_context(Site(site))).address
        session = await stack.enter_async_context(open_session(settings))
        decoders = stack.enter_context(
            Decoders(NUM_DECODERS, max_pixels=settings.max_pixels, max_side=settings.max_side)
        )
        threads = stack.enter_context(ThreadPoolExecutor(NUM_DECODERS))
        bar = stack.enter_context(tqdm(total=len(urls), desc="images", unit="url"))
        fetcher = Fetcher(session, settings, mirror=mirror)
        waiting = iter(urls)
        failures: Counter[str] = Counter()

        async def work() -> None:
            for url in waiting:
                try:
                    answer = await fetcher.fetch(url)
                    image = await asyncio.get_running_loop().run_in_executor(threads, decoders.prepare, answer.data)
                    journal.add_image(url, image, answer)
                except DownloadFailure as failure:
                    journal.add_failure(url, failure)
                    failures[failure.reason] += 1
                    bar.set_postfix(failures.most_common(3), refresh=False)
                bar.update()

        # Twice as many as there are connections, so that those who wait for a host leave none idle.
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(len(urls), 2 * settings.connections)):
                    group.create_task(work())
        except ExceptionGroup as failed:  # a full disk, say; the first says it all
            raise failed.exceptions[0] from failed


def write_tar(path: Path, listed: list[dict], journal: Journal) -> list[dict]:
    """Write the images in the order of the rows, each once, under the first row of its url; give the table's rows."""
    first_keys: dict[str, str] = {}
    image_rows = []
    with whole_file(path) as partial, tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
        shard = ShardTar(tar)
        for row in listed:
            url = row["url"]
            image = journal.image(url) if url is not None else None
            image_row = {name: row[name] for name in ("key", "url", "caption")}
            if image is not None:
                image_row |= image_columns(image)
                image_row["image_key"] = first_keys.setdefault(url, row["key"])
                if image_row["image_key"] == row["key"]:
                    shard.add(image_row, image)
            else:
                failure = (journal.failure(url) if url is not None else None) or DownloadFailure(
                    DownloadReason.CAPTION_DROPPED, "no row with this url is kept"
                )
                image_row |= {"status": failure.reason.status, "error_message": str(failure.reason)}
                image_row["detail"] = failure.detail
            image_rows.append(image_row)
    return image_rows


def demand_success(image_rows: list[dict], *, num_wanted: int, min_success: float) -> None:
    """Fail where so little arrived that the network, not the hosts, must be the reason.

    Raises: ValueError with the most frequent reasons.
    """
    num_arrived = len({row["image_key"] for row in image_rows if row["status"] == "success"})
    if num_arrived >= min_success * num_wanted:
        return
    reasons = Counter(row["error_message"] for row in image_rows if row["status"].startswith("failed"))
    most = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common(5))
    raise ValueError(
        f"{num_arrived} of {num_wanted} images arrived, expected at least {min_success:.0%} ({most}); look at "
        "the network, then start again, which asks only for what failed, or lower download.min_success"
    )


if __name__ == "__main__":
    run(main)
