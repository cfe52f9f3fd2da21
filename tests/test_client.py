"""docs/client.cpp, compiled: its boxes are those of kdlnet, from the same file and images."""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from kdlnet.inference.layouts import Layout
from kdlnet.inference.openvino_export import write_openvino
from kdlnet.inference.predictor import Predictor
from kdlnet.inference.weights import load_weights
from kdlnet.models.fuse import fuse_model

from .support.weights_file import make_weights

SOURCE = Path(__file__).resolve().parents[1] / "docs" / "client.cpp"


def openvino_folder() -> Path | None:
    """The Python package of OpenVINO, where it holds headers and libraries."""
    spec = importlib.util.find_spec("openvino")
    folders = (spec.submodule_search_locations or ()) if spec else ()
    return next((Path(one) for one in folders if Path(one, "include/openvino").is_dir()), None)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler, folder = shutil.which("g++"), openvino_folder()
    if compiler is None or folder is None:
        pytest.skip("no g++, or no headers of OpenVINO")
    (library,) = (folder / "libs").glob("libopenvino.so.*")
    program = tmp_path_factory.mktemp("client") / "client"
    where = ["-I", folder / "include", library, f"-Wl,-rpath,{folder / 'libs'}"]
    line = [compiler, "-O2", "-std=c++17", "-Wall", "-Werror", SOURCE, *where, "-o", program]
    subprocess.run(list(map(str, line)), check=True)
    return program


def picture(folder: Path, height: int, width: int, channels: int) -> Path:
    """A smooth image with a bright spot, as PGM or PPM."""
    random = np.random.default_rng(height)
    coarse = random.integers(0, 256, (6, 8, channels)).astype(np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    path = folder / f"{height}.{'ppm' if channels == 3 else 'pgm'}"
    cv2.imwrite(str(path), image)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("channels", [3, 1])
def test_a_client_in_another_language_finds_the_same(
    client: Path, tmp_path: Path, channels: int
) -> None:
    """The network's size, smaller, larger by a whole and by a broken factor; grey and colour."""
    assert len(SOURCE.read_text(encoding="utf-8").splitlines()) <= 200
    pytest.importorskip("onnxscript")
    weights = load_weights(make_weights(tmp_path / "best.pt", channels))
    weights.detector, weights.fused = fuse_model(weights.detector), True
    write_openvino(weights, tmp_path / "best.xml", Layout())
    predictor = Predictor.load(tmp_path / "best.xml")
    sizes = [(64, 96, 3), (128, 192, 1), (150, 170, 3), (40, 90, 3), (300, 100, 1)]
    files = [picture(tmp_path, *size) for size in sizes]
    for file in files:
        image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        image = image[:, :, None] if image.ndim == 2 else image[:, :, ::-1].copy()
        (wanted,) = predictor.predict(image)
        line = [str(client), str(tmp_path / "best.xml"), str(file)]
        done = subprocess.run(line, capture_output=True, text=True, check=True)
        *rows, verdict = done.stdout.split("\n")[:-1]
        found = np.array([row.split() for row in rows], float).reshape(-1, 6)
        assert verdict == wanted.verdict and len(wanted) > 1
        assert found[:, 0].tolist() == wanted.labels.tolist()
        np.testing.assert_allclose(found[:, 1], wanted.scores, atol=1e-3)
        np.testing.assert_allclose(found[:, 2:], wanted.boxes, atol=0.1)


RESIZE = """
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>
%s
extern "C" void resized(
    const uint8_t* from, int h, int w, int c, uint8_t* into, int to_h, int to_w) {
    const Image image{h, w, c, std::vector<uint8_t>(from, from + h * w * c)};
    const auto out = resize(image, to_h, to_w);
    std::copy(out.pixels.begin(), out.pixels.end(), into);
}
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
def test_a_client_enlarges_to_the_bit_as_opencv_does(tmp_path: Path) -> None:
    """Exact arithmetic was off by 1 in most pixels, and boxes by a pixel and a half."""
    text = SOURCE.read_text(encoding="utf-8")
    image = text[text.index("struct Image") : text.index("struct Box")]
    code = text[text.index("// Shares of") : text.index("Image grey(")]
    (tmp_path / "resize.cpp").write_text(RESIZE % (image + code))
    line = ["g++", "-O1", "-std=c++17", "-shared", "-fPIC", "resize.cpp", "-o", "resize.so"]
    subprocess.run(line, cwd=tmp_path, check=True)
    resized = ctypes.CDLL(str(tmp_path / "resize.so")).resized
    random = np.random.default_rng(0)
    for n in range(120):
        height, width = map(int, random.integers(1, 160, 2))
        scale = (192 / 150, 2.0, 0.5, *random.uniform(0.2, 4, 3))[n % 6]
        to = max(1, round(height * scale)), max(1, round(width * scale))
        pixels = random.integers(0, 256, (height, width, 1 + n % 2 * 2), np.uint8)
        found = np.empty((*to, pixels.shape[2]), np.uint8)
        source, into = (one.ctypes.data_as(ctypes.c_void_p) for one in (pixels, found))
        resized(source, *pixels.shape, into, *to)
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        wanted = cv2.resize(pixels, to[::-1], interpolation=method).reshape(found.shape)
        off = np.abs(found.astype(int) - wanted)
        assert off.max() <= (scale < 1) and np.mean(off > 0) < 0.01, (pixels.shape, to)


@pytest.mark.slow
def test_a_client_gives_no_verdict_where_it_must_not(client: Path, tmp_path: Path) -> None:
    """NaN in the last of the levels alone; a file of another format."""
    pytest.importorskip("onnxscript")
    weights = load_weights(make_weights(tmp_path / "best.pt", 3))
    weights.detector, weights.fused = fuse_model(weights.detector), True
    write_openvino(weights, tmp_path / "sound.xml", Layout())
    biases = [
        value
        for name, value in weights.detector.named_parameters()
        if name.endswith("bias") and value.shape[0] == len(weights.names)
    ]
    with torch.no_grad():
        biases[-1].fill_(torch.nan)
    write_openvino(weights, tmp_path / "broken.xml", Layout())
    image = picture(tmp_path, 64, 96, 3)

    def run(file: Path) -> subprocess.CompletedProcess[str]:
        line = [str(client), str(file), str(image)]
        return subprocess.run(line, capture_output=True, text=True, check=False)

    assert run(tmp_path / "sound.xml").returncode == 0
    broken = run(tmp_path / "broken.xml")
    assert (broken.returncode, broken.stdout) == (1, "") and "answered with NaN" in broken.stderr
    text = (tmp_path / "sound.xml").read_text(encoding="utf-8")
    newer = text.replace("&quot;format&quot;: 1,", "&quot;format&quot;: 2,")
    assert newer != text
    (tmp_path / "sound.xml").write_text(newer, encoding="utf-8")
    refused = run(tmp_path / "sound.xml")
    assert (refused.returncode, refused.stdout) == (1, "") and "format 1" in refused.stderr
