#!/usr/bin/env python3
"""scripts/check-protos refuses every change that would break somebody, and nothing else.

Usage: check_protos_test.py [unittest arguments]
"""

import importlib.machinery
import importlib.util
import pathlib
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
_loader = importlib.machinery.SourceFileLoader("check_protos", str(ROOT / "scripts/check-protos"))
check_protos = importlib.util.module_from_spec(importlib.util.spec_from_loader("check_protos", _loader))
_loader.exec_module(check_protos)

BEFORE = """
syntax = "proto3";
package p;
// A service.
service S {
  // A method.
  rpc Call(M) returns (stream M);
  // Another.
  rpc Other(M) returns (M);
}
// A message.
message M {
  reserved 9;
  // A field.
  string name = 1;
  // Numbers.
  repeated int32 numbers = 2;
  // May be absent.
  optional string note = 3;
  oneof kind {
    // One.
    string one = 4;
    // Two.
    E two = 5;
  }
  // Inside.
  message Inner {
    // A field.
    int64 size = 1;
  }
}
// An enum.
enum E {
  // None.
  NONE = 0;
  // Some.
  SOME = 1;
}
"""


def compiled(text: str):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "ilre"
        path.mkdir()
        (path / "p.proto").write_text(text)
        return check_protos.compile_protos(pathlib.Path(folder))


class CheckProtosTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.before = compiled(BEFORE)

    def problems(self, *changes: tuple[str, str]) -> list[str]:
        text = BEFORE
        for old, new in changes:
            self.assertIn(old, text)
            text = text.replace(old, new, 1)
        return check_protos.incompatibilities(self.before, compiled(text))

    def test_what_breaks_somebody_is_refused(self) -> None:
        for says, *changes in [
            ("p.M.name = 1 is gone", ("// A field.\n  string name = 1;", "")),
            ("p.M.name has another number: 1 became 6", ("string name = 1", "string name = 6")),
            ("p.M.name has another name: 'name' became 'title'", ("string name = 1", "string title = 1")),
            ("p.M.name has another type", ("string name = 1", "bytes name = 1")),
            ("p.M.name has another cardinality", ("string name = 1", "repeated string name = 1")),
            ("p.M.note has another presence", ("optional string note", "string note")),
            ("p.M.one has another oneof: 'kind' became 'sort'", ("oneof kind", "oneof sort")),
            ("p.M.name has another JSON name", ("string name = 1", 'string name = 1 [json_name = "n"]')),
            ("p.M.two has another type: 'TYPE_ENUM .p.E' became 'TYPE_INT32'", ("E two = 5", "int32 two = 5")),
            ("number 9 of p.M was reserved and is used again", ("reserved 9;", "// N.\n  string n = 9;")),
            ("message p.M.Inner is gone", ("message Inner {", "message Outer {")),
            ("p.E.SOME = 1 is gone", ("// Some.\n  SOME = 1;", "")),
            ("p.E.SOME = 1 is now called MANY", ("SOME = 1", "MANY = 1")),
            ("service p.S is gone", ("service S", "service T")),
            ("method p.S.Other is gone", ("// Another.\n  rpc Other(M) returns (M);", "")),
            ("p.S.Call has another streaming of responses", ("returns (stream M)", "returns (M)")),
            ("p.S.Call has another streaming of requests", ("rpc Call(M)", "rpc Call(stream M)")),
            ("p.S.Other has another response", ("rpc Other(M) returns (M)", "rpc Other(M) returns (M.Inner)")),
        ]:
            with self.subTest(says):
                problems = self.problems(*changes)
                self.assertTrue(any(says in problem for problem in problems), problems)

    def test_what_breaks_nobody_is_free(self) -> None:
        for changes in [
            [],
            [("string name = 1;", "string name = 1;\n  // New.\n  string more = 7;")],
            [("SOME = 1;", "SOME = 1;\n  // New.\n  MORE = 2;")],
            [("rpc Other", "rpc New(M) returns (M);\n  // Another.\n  rpc Other")],
            [("string one = 4;", "string one = 4;\n    // Three.\n    string three = 8;")],
            [("// An enum.", "// New.\nmessage N {}\n// An enum."), ("// A field.", "// Said better.")],
        ]:
            with self.subTest(changes):
                self.assertEqual(self.problems(*changes), [])

    def test_everything_needs_a_comment(self) -> None:
        self.assertEqual(check_protos.uncommented(self.before), [])
        for comment, name in [
            ("// A service.", "p.S"),
            ("// A method.", "p.S.Call"),
            ("// A message.", "p.M"),
            ("// A field.", "p.M.name"),
            ("// Two.", "p.M.two"),
            ("// Inside.", "p.M.Inner"),
            ("// An enum.", "p.E"),
            ("// Some.", "p.E.SOME"),
        ]:
            with self.subTest(comment):
                missing = check_protos.uncommented(compiled(BEFORE.replace(comment, "", 1)))
                self.assertEqual(missing, [f"ilre/p.proto: {name} has no comment"])

    def test_the_projects_own(self) -> None:
        released = check_protos.RELEASED.read_bytes()
        descriptors = check_protos.descriptor_pb2.FileDescriptorSet.FromString(released)
        self.assertGreaterEqual(len(check_protos.Contract(descriptors).fields), 20)
        self.assertEqual(check_protos.main([]), 0)


if __name__ == "__main__":
    unittest.main()
