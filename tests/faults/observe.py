"""What a server says of itself."""

import aiohttp


async def open_sockets(http: aiohttp.ClientSession, base: str) -> int:
    """Open notification sockets, as the server counts them in its metrics."""
    async with http.get(f"{base}/metrics") as got:
        lines = (await got.text()).splitlines()
    counts = [float(line.rpartition(" ")[2]) for line in lines if line.startswith("ichat_sockets") and "notif" in line]
    assert counts, "no metric of open sockets"
    return int(sum(counts))
