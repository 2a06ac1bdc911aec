"""Repositories of the fake Hub: commits of files, and the form in which a file is listed."""

import hashlib
from dataclasses import dataclass, field

LARGE = (".pt", ".npy", ".npz", ".parquet", ".safetensors", ".bin", ".faiss", ".wav", ".flac")  # as .gitattributes says


def blob(content):
    """The name that Git gives a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repository:
    """One repository: {commit: {path: bytes}}, what the branches and tags point to, and its history."""

    private: bool = False
    commits: dict = field(default_factory=dict)
    refs: dict = field(default_factory=dict)
    history: list = field(default_factory=list)  # (commit, title, paths added, paths deleted), the oldest first

    def commit(self, added, deleted=(), title="", branch="main"):
        before = self.commits.get(self.refs.get(branch), {})
        gone = {path for path in before for name in deleted if path == name or path.startswith(f"{name.rstrip('/')}/")}
        files = {path: content for path, content in before.items() if path not in gone} | added
        name = hashlib.sha1(f"{len(self.history)} {title} {sorted(files)}".encode()).hexdigest()
        self.commits[name], self.refs[branch] = files, name
        self.history.append((name, title, sorted(added), sorted(gone)))
        return name

    def of(self, revision):
        """The commit of a branch, tag or commit; None for an unknown one."""
        return self.refs.get(revision, revision if revision in self.commits else None)


def entry(path, content):
    """A file as the list of a repository names it."""
    large = path.endswith(LARGE)
    told = {"type": "file", "path": path, "size": len(content), "oid": blob(content)}
    if large:
        told["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return told
