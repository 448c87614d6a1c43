"""What does a vector database cost, and what does it buy? Chroma against exact search and the libraries beneath it.

    make bench

Vectors: those of the bundled pictures, and jittered copies of them (each moved by a random step of length 1, then
scaled back), so every size holds near neighbours in plenty; queries: the bundled test pictures. All graphs have the
settings of `helpers.store`. Each line is measured in a process of its own, so that memory is its own, too. Then: what
our helper adds to plain Chroma, how long a sync takes, and eight processes that ask one server while another syncs.
"""

import argparse
import multiprocessing
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import chromadb
import numpy as np
import psutil
from machine import machine
from PIL import Image

from helpers import clip, evaluate, images, lab, store
from helpers.backroom.graph import repair

processes = multiprocessing.get_context("spawn")
Search = Callable[[np.ndarray], np.ndarray]
"""Queries (M, D) to ids (M, 10)."""


def start_server(folder: Path) -> tuple[subprocess.Popen, str]:
    """Start `chroma run` on a free port and wait until it answers; return the process and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).parent / "chroma"
    command = [program, "run", "--path", folder, "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            time.sleep(0.1)
    return server, f"http://127.0.0.1:{port}"


def in_chroma(client: chromadb.ClientAPI, vectors: np.ndarray) -> Search:
    """Store the vectors in a collection, in batches of 2,000."""
    configuration = {"hnsw": {"space": "cosine", **store.HNSW}}
    collection = client.create_collection("bench", configuration=configuration, embedding_function=None)
    for start in range(0, len(vectors), 2000):
        part = vectors[start : start + 2000]
        collection.add(ids=[str(start + i) for i in range(len(part))], embeddings=part)

    def search(queries: np.ndarray) -> np.ndarray:
        return np.array(collection.query(query_embeddings=queries, n_results=10, include=["distances"])["ids"]).astype(
            int
        )

    return search


def in_numpy(vectors: np.ndarray) -> Search:
    """Search exactly: one matrix product (BLAS), then the ten largest."""

    def search(queries: np.ndarray) -> np.ndarray:
        scores = queries @ vectors.T
        near = np.argpartition(-scores, 10, axis=1)[:, :10]
        order = np.argsort(-np.take_along_axis(scores, near, axis=1), axis=1)
        return np.take_along_axis(near, order, axis=1)

    return search


def in_faiss(vectors: np.ndarray, graph: bool) -> Search:
    """Search with FAISS: every vector, or by its own HNSW."""
    import faiss

    if graph:
        index = faiss.IndexHNSWFlat(vectors.shape[1], store.HNSW["max_neighbors"], faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = store.HNSW["ef_construction"]
        index.hnsw.efSearch = store.HNSW["ef_search"]
    else:
        index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return lambda queries: index.search(queries, 10)[1]


def in_hnswlib(vectors: np.ndarray) -> Search:
    """Search with hnswlib, the library that Chroma's index descends from."""
    import hnswlib

    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(
        len(vectors), M=store.HNSW["max_neighbors"], ef_construction=store.HNSW["ef_construction"], random_seed=0
    )
    index.add_items(vectors)
    index.set_ef(store.HNSW["ef_search"])
    return lambda queries: index.knn_query(queries, 10)[0]


def build(system: str, vectors: np.ndarray, folder: Path, address: str | None) -> Search:
    """Store the vectors in one of `SYSTEMS` and return how to search there."""
    if system == "NumPy, exact":
        return in_numpy(vectors)
    if system.startswith("faiss"):
        return in_faiss(vectors, graph=system == "faiss HNSW")
    if system == "hnswlib":
        return in_hnswlib(vectors)
    if system == "Chroma, memory":
        return in_chroma(chromadb.EphemeralClient(), vectors)
    if system == "Chroma, disk":
        return in_chroma(chromadb.PersistentClient(folder), vectors)
    return in_chroma(chromadb.HttpClient("127.0.0.1", int(address.rsplit(":", 1)[1])), vectors)


SYSTEMS = ("NumPy, exact", "faiss flat", "faiss HNSW", "hnswlib", "Chroma, memory", "Chroma, disk", "Chroma, HTTP")


def measure(system: str, data: Path, n: int, rounds: int) -> dict[str, float]:
    """Build one system over the first n vectors and measure it. Runs in a process of its own."""
    vectors, queries = np.load(data / "vectors.npy")[:n].copy(), np.load(data / "queries.npy")
    exact = np.load(data / f"exact{n}.npy")
    folder = Path(tempfile.mkdtemp(dir=data))
    server, address = start_server(folder) if system == "Chroma, HTTP" else (None, None)
    holder = psutil.Process(server.pid if server else None)
    before = holder.memory_info().rss
    start = time.perf_counter()
    search = build(system, vectors, folder, address)
    search(queries[:1])
    built = time.perf_counter() - start
    memory = holder.memory_info().rss - before
    times, found = [], []
    for turn in range(rounds):
        for query in queries:
            start = time.perf_counter()
            ids = search(query[None])
            times.append(time.perf_counter() - start)
            if turn == 0:
                found.append(ids[0])
    batch = np.resize(queries, (64, queries.shape[1]))
    start = time.perf_counter()
    for _ in range(10):
        search(batch)
    per_second = 640 / (time.perf_counter() - start)
    disk = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    if server:
        server.kill()
    return {
        "build s": built,
        "memory MB": memory / 1e6,
        "disk MB": disk / 1e6,
        "median ms": 1000 * float(np.median(times)),
        "p95 ms": 1000 * float(np.percentile(times, 95)),
        "queries/s in 64s": per_second,
        "recall@10": float(evaluate.recall_at_k(np.array(found), exact, 10).mean()),
    }


def compare_systems(gallery: np.ndarray, queries: np.ndarray, sizes: list[int], rounds: int) -> None:
    """Print one line a system and size."""
    columns = ("build s", "memory MB", "disk MB", "median ms", "p95 ms", "queries/s in 64s", "recall@10")
    print(f"\n{'N':>7} {'system':15}" + "".join(f"{column:>17}" for column in columns) + f"{'× NumPy':>9}")
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch)
        vectors = lab.grown(gallery, max(sizes))
        np.save(data / "vectors.npy", vectors)
        np.save(data / "queries.npy", queries)
        for n in sizes:
            np.save(data / f"exact{n}.npy", in_numpy(vectors[:n])(queries))
        del vectors
        for n in sizes:
            reference = None
            for system in SYSTEMS:
                with processes.Pool(1) as pool:
                    row = pool.apply(measure, (system, data, n, rounds))
                reference = reference or row["median ms"]
                values = "".join(f"{row[column]:17.3f}" for column in columns)
                print(f"{n:7} {system:15}{values}{row['median ms'] / reference:9.2f}", flush=True)


class Given:
    """An encoder that looks vectors up instead of calculating them: what is left is storing."""

    name, fingerprint = "given", "given"

    def __init__(self, table: dict[str, np.ndarray]):
        self.table = table
        self.dim = len(next(iter(table.values())))

    def encode_images(self, pictures: list[Path]) -> np.ndarray:
        """Return the vectors of the pictures."""
        return np.stack([self.table[Path(picture).name] for picture in pictures])


def in_turn(functions: dict[str, Callable], rounds: int) -> dict[str, float]:
    """Call the functions in turn; return the median seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def helper_against_chroma(gallery: np.ndarray, n: int) -> None:
    """Print what `helpers.store` adds to a call of Chroma's, for vectors that are given."""
    vectors = lab.grown(gallery, n)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "train"
        folder.mkdir()
        table = {f"{i:06d}.png": vector for i, vector in enumerate(vectors)}
        for name in table:
            Image.new("RGB", (2, 2)).save(folder / name)
        pictures = images.load_gallery(folder)
        encoder = Given(table)
        parts = np.array_split(np.arange(n), -(-n // store.BATCH))
        count = iter(range(1000))

        def plain() -> None:
            client = chromadb.PersistentClient(Path(scratch) / f"plain{next(count)}")
            configuration = {"hnsw": {"space": "cosine", **store.HNSW}}
            collection = client.create_collection("bench", configuration=configuration, embedding_function=None)
            for part in parts:
                metadata = [
                    {"label": "", "split": "train", "hash": "0" * 64, "width": 2, "height": 2} for _ in range(len(part))
                ]
                collection.add(ids=[f"{i:06d}.png" for i in part], embeddings=vectors[part], metadatas=metadata)

        def ours() -> None:
            store.open_index(Path(scratch) / f"ours{next(count)}", encoder=encoder).sync(pictures)

        seconds = in_turn({"plain": plain, "ours": ours}, rounds=3)
        index = store.open_index(Path(scratch) / "ours1", encoder=encoder)
        extra = in_turn(
            {"files": lambda: index.sync(pictures), "check": lambda: repair(index._open(), index.space, store.BATCH)},
            rounds=3,
        )
        print(
            f"\nStoring {n} given vectors: collection.add {seconds['plain']:.2f} s, index.sync {seconds['ours']:.2f} s "
            f"({seconds['ours'] / seconds['plain']:.2f} ×); a sync with nothing to do {extra['files']:.2f} s; asking "
            f"each picture for itself, after changes, {extra['check']:.2f} s"
        )
        collection = index._open()
        turn = iter(np.tile(np.arange(n), 10))
        times = in_turn(
            {
                "plain": lambda: collection.query(
                    query_embeddings=[vectors[next(turn)]], n_results=6, include=["distances", "metadatas"]
                ),
                "ours": lambda: index.query(vector=vectors[next(turn)], k=5),
            },
            rounds=2000,
        )
        print(
            f"One query for 5 among {n}: collection.query {1000 * times['plain']:.3f} ms, index.query "
            f"{1000 * times['ours']:.3f} ms ({times['ours'] / times['plain']:.3f} ×)"
        )


def sync_times(encoder: clip.Encoder) -> None:
    """Print how long the syncs of a folder take: the first, one with nothing to do, and after two kinds of change."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = shutil.copytree(images.DATA / "train", Path(scratch) / "train")
        index = store.open_index(Path(scratch) / "index", encoder=encoder)

        def sync(what: str) -> None:
            pictures = images.load_gallery(folder)
            start = time.perf_counter()
            report = index.sync(pictures)
            print(f"sync, {what:22} {time.perf_counter() - start:6.2f} s  {report}")

        print()
        sync("the first")
        sync("nothing to do")
        picture = sorted(folder.rglob("*.jpg"))[0]
        Image.open(picture).rotate(5).save(picture)
        sync("one picture changed")
        shutil.rmtree(folder / "windmill")
        sync("a class removed")


def ask(address: str, table: dict[str, np.ndarray], keys: list[str], seconds: float) -> tuple[int, int]:
    """Ask a server for pictures by their own vectors; return the numbers of questions and of wrong answers."""
    index = store.open_index(address, encoder=Given(table))
    asked = wrong = 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        key = keys[asked % len(keys)]
        wrong += index.query(vector=table[Path(key).name], k=1)[0].id != key
        asked += 1
    return asked, wrong


def many_clients(gallery: np.ndarray, seconds: float = 8.0) -> None:
    """Print the throughput of one client, of eight, and of eight while another program syncs."""
    pictures = images.load_gallery(images.DATA / "train")
    table = {path.name: vector for path, vector in zip(pictures.paths, gallery, strict=True)}
    keys = [path.relative_to(pictures.root).as_posix() for path in pictures.paths[:100]]
    with tempfile.TemporaryDirectory() as scratch:
        server, address = start_server(Path(scratch))
        index = store.open_index(address, encoder=Given(table))
        index.sync(pictures)
        print()
        for clients, syncing in ((1, False), (8, False), (8, True)):
            with processes.Pool(clients) as pool:
                pool.starmap(ask, [(address, table, keys, 0.2)] * clients)  # imports, connections
                waiting = pool.starmap_async(ask, [(address, table, keys, seconds)] * clients)
                syncs = 0
                while syncing and not waiting.ready():
                    index.sync(pictures.take(range(100 + 100 * (syncs % 6))))
                    syncs += 1
                results = waiting.get()
            asked, wrong = sum(asked for asked, _ in results), sum(wrong for _, wrong in results)
            print(
                f"server, {clients} client{'s' * (clients > 1)}{f' and {syncs} syncs' * syncing}: "
                f"{asked / seconds:.0f} queries/s, {wrong} wrong answers, no error"
            )
        server.kill()


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=5, help="how often each query is asked")
    options = parser.parse_args()
    print(machine())
    encoder = clip.load("bundled")
    gallery, queries = (encoder.encode_images(images.load_gallery(images.DATA / split)) for split in ("train", "test"))
    print(f"{encoder.dim} dimensions, {len(queries)} queries, HNSW {store.HNSW}, chromadb {chromadb.__version__}")
    compare_systems(gallery, queries, options.sizes, options.rounds)
    helper_against_chroma(gallery, 5_000)
    sync_times(encoder)
    many_clients(gallery)


if __name__ == "__main__":
    main()
