"""Makes the messages and stubs (package ilre.v1) from the protos whenever the package is built; none are kept in git.

The protos are those of the project (../../protos) or, in a source distribution, its own copy of them (protos/).
"""

import pathlib
import shutil

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = "ilre/v1"


def proto_folder() -> pathlib.Path:
    for folder in (HERE / "protos", HERE.parent.parent / "protos"):
        if (folder / PACKAGE).is_dir():
            return folder
    raise SystemExit("ilre: no protos: build from the project's checkout or from its source distribution")


def generate(target: pathlib.Path) -> None:
    """Writes ilre/v1/*_pb2.py, their types (.pyi) and *_pb2_grpc.py below `target`."""
    import grpc_tools
    from grpc_tools import protoc

    protos = proto_folder()
    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    target.mkdir(parents=True, exist_ok=True)
    outputs = [f"--{kind}_out={target}" for kind in ("python", "pyi", "grpc_python")]
    files = sorted(str(path.relative_to(protos)) for path in (protos / PACKAGE).glob("*.proto"))
    if protoc.main(["protoc", f"-I{protos}", f"-I{well_known}", *outputs, *files]) != 0:
        raise SystemExit("ilre: protoc failed")
    (target / PACKAGE / "__init__.py").write_text('"""The messages and stubs of ilre.v1, made from the protos."""\n')


class BuildWithStubs(build_py):
    def run(self) -> None:
        super().run()
        generate(HERE / "src" if self.editable_mode else pathlib.Path(self.build_lib))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        made = [str(path) for path in (pathlib.Path(self.build_lib) / PACKAGE).glob("*.py*")]
        return super().get_outputs(include_bytecode) + made


class SdistWithProtos(sdist):
    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        copy = pathlib.Path(base_dir) / "protos" / PACKAGE
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir(parents=True)
        for path in (proto_folder() / PACKAGE).glob("*.proto"):
            shutil.copy(path, copy)


setup(cmdclass={"build_py": BuildWithStubs, "sdist": SdistWithProtos})
