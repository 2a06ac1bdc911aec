"""Bundles against the modules themselves, run by Node.js: the same order, the same values, as late as they would run."""

import json
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.serve import bundle

NODE = shutil.which("node")
run_by_node = pytest.mark.skipif(NODE is None, reason="no Node.js here; type: apt-get install -y nodejs")

MODULES = {
    "/main.js": """import { log, twice as double } from "./deep/log.js";
import * as all from "./deep/values.js";
import { Thing } from "./deep/values.js";

log("main");
export async function main() {
  const first = await import("./late.js"), { late } = await import("./late.js");
  log(JSON.stringify([all.SIZE, double(4), new Thing().name, late(2), first.late === late, typeof h]));
}
const h = 1;
await main();
""",
    "/deep/log.js": """export const lines = [];
export function log(text) { lines.push(text); globalThis.lines = lines; }
/* export nothing; import("nothing") stays a comment */
const twice = (x) => 2 * x;
export { twice };
""".replace('import("nothing")', "import nothing"),
    "/deep/values.js": """import { log } from "./log.js";

log("values");
export const SIZE = [1, 2];
export class Thing { name = "thing"; }
export async function* never() {}
""",
    "/late.js": """import { log, twice } from "./deep/log.js";

log("late");
export const late = (x) => twice(x) + `${x} import x`.length;
""",
}


def bundled(texts, groups, entry):
    found = bundle.modules(texts)
    assert sorted(path for paths in groups.values() for path in paths) == sorted(texts)
    return {name: bundle.bundle(found, groups, name, entry if entry in paths else None)
            for name, paths in groups.items()}  # fmt: skip


def lines(folder, texts, entry):
    """What the modules logged, run by Node.js from files."""
    for path, text in texts.items():
        file = folder / path.lstrip("./")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (folder / "package.json").write_text('{"type": "module"}')
    program = f"await import('./{entry.lstrip('./')}'); await new Promise((done) => setTimeout(done, 50)); console.log(JSON.stringify(globalThis.lines));"
    done = subprocess.run([NODE, "--input-type=module", "-e", program], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@run_by_node
@pytest.mark.parametrize("groups", [
    {"./one.js": ["/deep/log.js", "/deep/values.js", "/main.js", "/late.js"]},
    {"./one.js": ["/deep/log.js", "/deep/values.js", "/main.js"], "./two.js": ["/late.js"]},
    {"./one.js": ["/main.js"], "./two.js": ["/deep/values.js", "/late.js"], "./three.js": ["/deep/log.js"]},
])  # fmt: skip
def test_a_bundle_does_what_its_modules_do(tmp_path, groups):
    want = lines(tmp_path / "modules", MODULES, "/main.js")
    assert want == ["values", "main", "late", '[[1,2],8,"thing",14,true,"number"]']
    got = bundled(MODULES, groups, "/main.js")
    assert lines(tmp_path / "bundles", got, "./one.js") == want


@st.composite
def graphs(draw):
    """Modules m0, m1, … that import later ones, and by which way: now, or when they are called."""
    n = draw(st.integers(2, 6))
    texts = {}
    for i in range(n):
        later = [j for j in range(i + 1, n) if draw(st.booleans())]
        now = [j for j in later if draw(st.booleans())]
        head = "".join(f'import {{ f{j} as g{j} }} from "./m{j}.js";\n' for j in now)
        late = "".join(f'  await (await import("./m{j}.js")).f{j}(depth + 1);\n' for j in later if j not in now)
        called = "".join(f"  await g{j}(depth + 1);\n" for j in now)
        texts[f"/m{i}.js"] = (f'{head}(globalThis.lines ??= []).push("run {i}");\n'
                              f'export async function f{i}(depth) {{\n  globalThis.lines.push(`call {i} at ${{depth}}`);\n  if (depth > 3) return;\n{called}{late}}}\n')  # fmt: skip
    texts["/m0.js"] += "await f0(0);\n"
    return texts, [draw(st.integers(0, 2)) for _ in range(n)]


@run_by_node
@settings(max_examples=8, deadline=None)
@given(graphs())
def test_modules_run_in_the_order_of_their_imports_however_they_are_divided(tmp_path_factory, made):
    texts, places = made
    found = bundle.modules(texts)
    places[0] = 0
    order = bundle.before(found, *texts)
    groups = {f"./b{k}.js": [path for path in order if places[[*texts].index(path)] == k] for k in sorted({*places})}
    got = bundled(texts, groups, "/m0.js")
    folder = tmp_path_factory.mktemp("graph")
    assert lines(folder / "bundles", got, "./b0.js") == lines(folder / "modules", texts, "/m0.js")


@pytest.mark.parametrize(("text", "said"), [
    ("export default 1;\n", "has what is not understood: export default 1;"),
    ("export let a = 1;\n", "not understood: export let"),
    ('import a from "./b.js";\n', "not understood: import a"),
    ('import "./b.js";\n', "not understood: import"),
    ("const a = await import(`./b.js`);\n", "not understood: import(`"),
    ("const $1 = 2;\n", "not understood: $1"),
    ("const a = 1;\nexport { a as b };\n", "a name must be exported as it is"),
    ('import { b } from "./b.js";\n', "imports b, which /b.js does not export"),
    ('import { c } from "./c.js";\n', "/a.js imports /c.js, which is not there"),
    ('import { d } from "./a.js";\nexport const d = 1;\n', "modules import each other: /a.js, /a.js"),
])  # fmt: skip
def test_what_is_not_understood_is_refused(text, said):
    found = bundle.modules({"/a.js": text, "/b.js": "export const a = 1;\n"})
    with pytest.raises(bundle.Unbundled) as raised:
        bundle.bundle(found, {"./a.js": bundle.reachable(found, "/a.js", "/b.js")}, "./a.js")
    assert said in str(raised.value)
