"""The page's own small parts against independent answers: lasso, grid, Markdown, WAV, strokes, packed arrays."""

import io
import wave

import numpy as np
import pytest

from sensorium.serve.engine import binary


@pytest.fixture(scope="module")
def blank(chromium, served):
    """A page from which modules are imported."""
    page = chromium.new_context().new_page()
    page.goto(f"{served.url}/healthz")
    yield page
    page.context.close()


def test_what_a_lasso_and_a_pointer_find_in_the_grid(blank):
    random = np.random.default_rng(0)
    xy = random.standard_normal((5000, 2)).astype(np.float32)
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    polygon = np.stack([0.3 + (0.5 + 0.3 * np.cos(5 * angle)) * np.cos(angle), 0.8 * np.sin(angle)], 1)
    found = blank.evaluate(
        """async ([xy, polygon, x, y]) => { const { Grid } = await import('/grid.js');
        const grid = new Grid(Float32Array.from(xy));
        return [grid.within(polygon), grid.nearest(x, y, 0.5), grid.nearest(50, 50, 0.5), new Grid(new Float32Array(0)).nearest(0, 0, 1)]; }""",
        [xy.ravel().tolist(), polygon.tolist(), 0.1, -0.2],
    )
    from matplotlib.path import Path

    assert found[0] == np.flatnonzero(Path(polygon).contains_points(xy)).tolist()
    assert found[1] == int(np.argmin(((xy - [0.1, -0.2]) ** 2).sum(1)))
    assert found[2:] == [-1, -1]


def test_cards_become_elements_and_markup_stays_text(blank):
    text = """# Title
Some **bold** and *thin* `code <b>` and [a link](https://example.org) and [a trap](javascript:alert(1)).

- one
- two <script>alert(1)</script>
  - inner

| a | b |
| --- | ---: |
| x | 1 |

```sh
make <demo>
```
![picture](plots/a.png)
"""
    got = blank.evaluate(
        """async text => { const { markdown } = await import('/markdown.js');
        const out = document.createElementNS('http://www.w3.org/1999/xhtml', 'div'); out.append(markdown(text));
        const all = (q) => [...out.querySelectorAll(q)].map((e) => e.textContent);
        return { heads: all('h2'), bold: all('strong'), code: all('code'), links: [...out.querySelectorAll('a')].map((a) => a.getAttribute('href')),
            items: all('ul > li').length, inner: all('li li'), cells: all('td'), right: all('td.number'), scripts: all('script').length, text: out.textContent }; }""",
        text,
    )
    assert got["heads"] == ["Title"] and got["bold"] == ["bold"]
    assert got["code"] == ["code <b>", "make <demo>"]
    assert got["links"] == ["https://example.org"]
    assert got["items"] == 3 and got["inner"] == ["inner"]
    assert got["cells"] == ["x", "1"] and got["right"] == ["1"]
    assert got["scripts"] == 0 and "<script>alert(1)</script>" in got["text"]


def test_recorded_sound_is_a_wav_file(blank):
    samples = [0.0, 0.5, -0.5, 1.0, -1.0, 2.0]
    content = blank.evaluate(
        "async s => [...new Uint8Array((await import('/wav.js')).wav(Float32Array.from(s), 48000))]", samples
    )
    with wave.open(io.BytesIO(bytes(content))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth(), file.getnframes()) == (48000, 1, 2, 6)
        got = np.frombuffer(file.readframes(6), "<i2") / 32768
    assert np.abs(got - np.clip(samples, -1, 1)).max() < 1e-4


def test_strokes_survive_a_link_and_fill_the_picture(blank):
    got = blank.evaluate("""async () => { const d = await import('/draw.js');
        const strokes = [[[0.1, 0.2], [0.15, 0.3]], [[0.2, 0.2]]];
        const back = d.strokesFromText(d.strokesToText(strokes));
        const c = d.picture(strokes), data = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        let left = 999, right = 0, top = 999, bottom = 0;
        for (let i = 0; i < data.length; i += 4) if (data[i] < 128) { const p = i / 4, x = p % c.width, y = (p - x) / c.width;
            left = Math.min(left, x); right = Math.max(right, x); top = Math.min(top, y); bottom = Math.max(bottom, y); }
        return { back, box: [left, right, top, bottom], size: c.width, straight: d.simplify([[0, 0], [0.5, 0], [1, 0]], 0.01).length }; }""")
    assert got["back"] == [[[0.1, 0.2], [0.15, 0.3]], [[0.2, 0.2]]]
    left, right, top, bottom = got["box"]
    assert abs((left + right) / 2 - got["size"] / 2) < 2 and abs((top + bottom) / 2 - got["size"] / 2) < 2
    assert 96 <= max(right - left, bottom - top) <= 110
    assert got["straight"] == 2


def test_packed_arrays_are_read_as_they_were_written(blank):
    arrays = {"xy": np.arange(6, dtype=np.float32).reshape(3, 2), "code": np.array([1, 2, 255], np.uint8),
              "rows": np.array([7, 8, 2**32 - 1], np.uint32)}  # fmt: skip
    body = binary.pack({"method": "pca", "name": "ä"}, arrays)
    got = blank.evaluate(
        """async bytes => { const { unpack } = await import('/arrays.js'); const { header, arrays } = unpack(new Uint8Array(bytes).buffer);
        return [header.name, [...arrays.xy], [...arrays.code], [...arrays.rows]]; }""",
        list(body),
    )
    assert got == ["ä", [0, 1, 2, 3, 4, 5], [1, 2, 255], [7, 8, 2**32 - 1]]
    header, back = binary.unpack(body)
    assert header == {"method": "pca", "name": "ä"}
    assert all(np.array_equal(back[name], arrays[name]) for name in arrays)
    with pytest.raises(ValueError):
        binary.unpack(body[:-8])


def test_ticks_are_round_and_cover_the_range(blank):
    got = blank.evaluate(
        "async () => { const { ticks } = await import('/chart.js'); return [ticks(0, 1, 4), ticks(0.13, 0.87, 4), ticks(5, 5)]; }"
    )
    assert np.allclose(got[0], [0, 0.25, 0.5, 0.75, 1]) and np.allclose(got[1], [0.2, 0.4, 0.6, 0.8])
    assert got[2] == [5]


def test_the_microphone_is_recorded(blank):
    blank.mouse.click(10, 10)  # sound needs a gesture
    content = blank.evaluate(
        """async () => { const { record } = await import('/wav.js'); let loudest = 0;
        const running = await record((level) => { loudest = Math.max(loudest, level); });
        const until = performance.now() + 8000;
        while (!loudest && performance.now() < until) await new Promise((done) => setTimeout(done, 100));
        await new Promise((done) => setTimeout(done, 300));
        const file = await running.stop();
        return [file.type, [...new Uint8Array(await file.arrayBuffer())]]; }"""
    )
    assert content[0] == "audio/wav"
    with wave.open(io.BytesIO(bytes(content[1]))) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        assert len(samples) > 0.1 * file.getframerate()
        assert np.abs(samples).max() > 100  # the make-believe microphone beeps


def test_a_spectrogram_s_decibels_are_those_of_the_mel_filters(blank):
    """Against NumPy's transform and the filters that training uses."""
    from sensorium.modalities.audio import mel

    random, rate, size, bands = np.random.default_rng(0), 16_000, 1024, 64
    t = np.arange(rate) / rate
    sound = (np.sin(2 * np.pi * (300 + 3000 * t) * t) + 0.05 * random.standard_normal(rate)).astype(np.float32)
    got = blank.evaluate(
        """async samples => { const { decibels } = await import('/spectrogram.js');
        const silent = decibels(new Float32Array(2000));
        return [[...decibels(Float32Array.from(samples))], Math.max(...silent), decibels(new Float32Array(1)).length]; }""",
        sound.tolist(),
    )
    levels = np.array(got[0]).reshape(-1, bands)
    columns = len(levels)
    assert columns == -(-rate // (size // 4)) and got[1:] == [-80, bands]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    filters, padded = mel.filters(bands, size, rate, 50, rate / 2), np.pad(sound.astype(np.float64), size)
    power = []
    for column in range(columns):
        first = int(np.floor((column + 0.5) * rate / columns - size / 2 + 0.5)) + size
        power.append(np.abs(np.fft.rfft(padded[first : first + size] * window)) ** 2 @ filters)
    expected = 10 * np.log10(np.maximum(np.array(power), 1e-20) / np.max(power))
    np.testing.assert_allclose(levels, np.maximum(expected, -80), atol=0.01)


def test_a_spectrogram_is_dark_where_it_is_quiet_and_has_low_bands_at_the_bottom(blank):
    low, high = blank.evaluate(
        """async () => { const { paint, decibels, RATE } = await import('/spectrogram.js');
        const canvas = document.createElementNS('http://www.w3.org/1999/xhtml', 'canvas');
        const tone = Float32Array.from({ length: RATE }, (_, i) => Math.sin(2 * Math.PI * 200 * i / RATE));
        paint(canvas, decibels(tone));
        const at = (y) => [...canvas.getContext('2d').getImageData(20, y, 1, 1).data.slice(0, 3)].reduce((a, b) => a + b);
        return [Math.max(...Array.from({ length: 16 }, (_, i) => at(48 + i))), at(4)]; }"""
    )
    assert low > 500 and high < 60
