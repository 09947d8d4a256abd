"""Tests of what bench/peers computes: they need neither the engine, nor a model, nor its peers."""

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import unittest.mock
import xml.etree.ElementTree

from harness import child, cost_model, ours, outcomes, page_cache, peers, prose, report, svg_plot
from harness.outcomes import Outcome


def outcome(peer: str, tokens: int, **values: list[float]) -> Outcome:
    return Outcome(peer, tokens, values)


class OutcomesTest(unittest.TestCase):
    def test_a_result_is_split_into_measures_and_details(self) -> None:
        result = {"tokens": 5, "read_s": [1.0], "short_first_token_s": [2.0], "answer": "yes"}
        taken = outcomes.from_result("peer", result, {"first_token_s": "short_first_token_s"})
        self.assertEqual(taken.values, {"read_s": [1.0], "first_token_s": [2.0]})
        self.assertEqual(taken.details["answer"], "yes")
        self.assertEqual(taken.tokens, 5)

    def test_a_cell_has_median_spread_and_ratio(self) -> None:
        mine = outcome("ilre", 8, read_s=[0.5, 0.4, 0.6])
        theirs = outcome("other", 8, read_s=[50.0, 40.0, 61.0])
        measure = outcomes.MEASURES[0]
        self.assertEqual(outcomes.cell(measure, mine, mine), "0.5 s (0.4 s to 0.6 s)")
        self.assertEqual(outcomes.cell(measure, theirs, mine), "50 s (40 s to 61 s), 100×")
        self.assertEqual(outcomes.cell(measure, outcome("other", 8), mine), "")

    def test_bytes_are_shown_as_mebibytes(self) -> None:
        kept = next(measure for measure in outcomes.MEASURES if measure.name == "stored_bytes")
        self.assertEqual(kept.show(189 * 2**20), "189 MiB")
        self.assertEqual(kept.show(1.56 * 2**20), "1.6 MiB")

    def test_later_outcomes_replace_earlier_ones(self) -> None:
        before = [outcome("a", 16), outcome("a", 8, read_s=[1.0])]
        after = outcomes.merged(before, [outcome("a", 8, read_s=[2.0]), outcome("b", 8)])
        self.assertEqual([(one.peer, one.tokens) for one in after], [("a", 8), ("b", 8), ("a", 16)])
        self.assertEqual(after[0].values["read_s"], [2.0])

    def test_files_are_written_and_read_again(self) -> None:
        found = [outcome("ilre", 8192, read_s=[0.4], tokens_per_s=[90.0]), outcome("ü", 8192, read_s=[40.0])]
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "new"
            self.assertEqual(outcomes.read(path / "outcomes.jsonl"), [])
            outcomes.write_all(path, found)
            self.assertEqual(outcomes.read(path / "outcomes.jsonl"), found)
            self.assertIn("| ü | 40 s, 100× |", (path / "peers.md").read_text(encoding="utf-8"))
            for measure in ("read", "tokens_per", "cold"):
                xml.etree.ElementTree.parse(path / f"{measure}.svg")


class PlotTest(unittest.TestCase):
    def test_a_plot_is_svg_with_a_path_for_each_series_that_has_points(self) -> None:
        series = [
            svg_plot.Series("a < b", [(1e3, 0.1, 0.05, 0.2), (1e6, 10.0, 9.0, 12.0)]),
            svg_plot.Series("none", []),
            svg_plot.Series("one", [(1e4, 1.0, 1.0, 1.0)]),
        ]
        root = xml.etree.ElementTree.fromstring(svg_plot.render("title", "x", "y", series))
        names = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
        self.assertIn("a < b", names)
        self.assertNotIn("none", names)
        self.assertEqual(len(list(root.iter("{http://www.w3.org/2000/svg}path"))), 2)

    def test_places_go_by_the_logarithm(self) -> None:
        series = [svg_plot.Series("a", [(1e2, 1.0, 1.0, 1.0), (1e3, 10.0, 10.0, 10.0), (1e4, 100.0, 100.0, 100.0)])]
        root = xml.etree.ElementTree.fromstring(svg_plot.render("", "", "", series))
        circles = list(root.iter("{http://www.w3.org/2000/svg}circle"))
        across, down = ([float(circle.attrib[axis]) for circle in circles] for axis in ("cx", "cy"))
        self.assertAlmostEqual(across[1] - across[0], across[2] - across[1], delta=0.11)
        self.assertAlmostEqual(down[1] - down[0], down[2] - down[1], delta=0.11)
        self.assertLess(down[2], down[0])

    def test_a_plot_of_nothing_is_drawn(self) -> None:
        xml.etree.ElementTree.fromstring(svg_plot.render("", "", "", []))

    def test_short_numbers(self) -> None:
        self.assertEqual([svg_plot.short(x) for x in (0.01, 5, 2000, 1e6, 2e9)], ["0.01", "5", "2K", "1M", "2G"])


class CostModelTest(unittest.TestCase):
    def test_a_line_is_found_again(self) -> None:
        xs = [1e4, 1e5, 1e6]
        line = cost_model.fit(xs, [0.2 + 3e-5 * x for x in xs])
        self.assertAlmostEqual(line.base, 0.2)
        self.assertAlmostEqual(line.slope, 3e-5)
        self.assertLess(cost_model.worst_error(line, xs, [line(x) for x in xs]), 1e-9)
        self.assertAlmostEqual(cost_model.worst_error(line, [1e4], [line(1e4) / 2]), 1)

    def test_the_default_model_costs_what_its_layers_say(self) -> None:
        model = cost_model.SMOLLM2
        layer = 576 * 576 * 2 + 2 * 576 * 192 + 3 * 576 * 1536
        self.assertEqual(model.layer_weights(), layer)
        self.assertAlmostEqual(model.weights() / 134.5e6, 1, delta=0.01)
        self.assertAlmostEqual(model.read_flop(2, 256, 64), 2 * (2 * layer + 4 * 576 * 256) + 2 * 576 * 64)
        self.assertAlmostEqual(model.answer_bytes(100, 16), model.weights() * 2 + 100 * 2 * 30 * 192 * 2)

    def test_larger_models_have_the_weights_that_their_names_say(self) -> None:
        self.assertAlmostEqual(cost_model.LLAMA_8B.weights() / 7.5e9, 1, delta=0.01)  # embeddings once
        self.assertAlmostEqual(cost_model.QWEN_7B.weights() / 7.07e9, 1, delta=0.01)

    def test_predictions_scale_with_the_machine_and_the_text(self) -> None:
        slow, fast = cost_model.MACHINES[0], cost_model.MACHINES[2]
        arguments = {"layers": 3, "window": 4096, "stored": 1024, "question": 24, "budget": 4096}
        one = cost_model.predict(cost_model.LLAMA_8B, slow, 1_000_000, **arguments)
        two = cost_model.predict(cost_model.LLAMA_8B, slow, 2_000_000, **arguments)
        other = cost_model.predict(cost_model.LLAMA_8B, fast, 1_000_000, **arguments)
        self.assertAlmostEqual(two.read, 2 * one.read)
        self.assertAlmostEqual(two.scan, 2 * one.scan)
        self.assertEqual(two.prompt, one.prompt)
        self.assertAlmostEqual(one.read / other.read, fast.flops / slow.flops)

    def test_the_needed_share_is_that_at_which_it_takes_so_long(self) -> None:
        machine, model = cost_model.MACHINES[0], cost_model.LLAMA_8B
        found = cost_model.predict(model, machine, 1_000_000, 3, 4096, 1024, 24, 4096)
        share = cost_model.needed_share(model, machine, 1_000_000, 3, 4096, found.read)
        self.assertAlmostEqual(share, cost_model.COMPUTE_SHARE)


class VariedProseTest(unittest.TestCase):
    def test_no_sentence_comes_twice_and_a_seed_gives_one_text(self) -> None:
        with unittest.mock.patch.object(
            prose, "sentences", lambda: tuple(f"one{i} two{i} three{i} four{i}." for i in range(50))
        ):
            text = prose.varied(10_000, seed=1)
            self.assertEqual(text, prose.varied(10_000, seed=1))
            self.assertNotEqual(text, prose.varied(10_000, seed=2))
        found = text.split(". ")
        self.assertGreater(len(text.encode()), 10_000 - 2)
        self.assertGreater(len(found), 150)  # three times through the book and more
        self.assertEqual(len(set(found)), len(found))


class RepeatedTest(unittest.TestCase):
    def test_runs_end_with_patience_but_one_is_always_made(self) -> None:
        self.assertEqual(report.repeated(lambda run: run, 3, 60), [0, 1, 2])
        self.assertEqual(report.repeated(lambda run: run, 3, 0), [0])


class AskedTest(unittest.TestCase):
    def test_rates_leave_the_first_token_out(self) -> None:
        def answer(tokens: int, first: float, total: float) -> dict[str, object]:
            return {"answer_tokens": tokens, "timings_ms": {"first_token": first, "total": total}}

        asked = ours.Asked([answer(11, 100, 200), answer(1, 50, 60)], 0)
        self.assertEqual(asked.rates(), [100.0])
        self.assertEqual(asked.timings("first_token"), [0.1, 0.05])


class JudgeTest(unittest.TestCase):
    """What is too slow must be seen to be."""

    @staticmethod
    def missed(
        tokens: int, read_s: float, first_s: float, rate: float, kept: float, whole_s: float = 0.29
    ) -> list[str]:
        values = {"read_s": [read_s], "first_token_s": [first_s], "tokens_per_s": [rate], "stored_bytes": [kept]}
        mine = outcome("ilre", tokens, **values)
        mine.details["whole_budget_first_token_s"] = [whole_s]
        mine.details["prompt_tokens"] = mine.details["whole_budget_prompt_tokens"] = [100]
        other = {"read_s": [100.0], "first_token_s": [0.3], "tokens_per_s": [20.0], "stored_bytes": [200e6]}
        theirs = {peer: outcome(peer, tokens, **other) for peer in (peers.LLAMA, peers.FLASH)}
        theirs[peers.SHORT] = outcome(peers.SHORT, tokens, tokens_per_s=[60.0], first_token_s=[2.0])
        result = report.Report()
        with open(os.devnull, "w", encoding="utf-8") as null:
            with contextlib.redirect_stdout(null), contextlib.redirect_stderr(null):
                peers._judge(result, mine, theirs)  # pylint: disable=protected-access
        return result.missed

    def test_what_reaches_its_bars_passes(self) -> None:
        self.assertEqual(self.missed(8192, 0.9, 0.2, 70, 1e6), [])
        self.assertEqual(self.missed(16384, 0.3, 9, 1, 1e9), [])  # only reading has a bar there

    def test_what_misses_a_bar_is_named(self) -> None:
        self.assertEqual(self.missed(8192, 1.1, 0.2, 70, 1e6), ["reading.8192.times_faster"])
        self.assertEqual(self.missed(16384, 0.5, 0.2, 70, 1e6), ["reading.16384.times_faster"])
        self.assertEqual(self.missed(8192, 0.9, 0.35, 70, 1e6), ["first_token.8192.share_of_restored_llama"])
        self.assertEqual(
            self.missed(8192, 0.9, 0.2, 70, 1e6, whole_s=0.45),
            ["whole_budget_first_token.8192", "whole_budget_first_token.8192.share_of_restored_llama"],
        )
        self.assertEqual(self.missed(8192, 0.9, 0.2, 55, 1e6), ["answers.8192.against_short_prompt"])
        self.assertEqual(self.missed(8192, 0.9, 0.2, 70, 3e6), ["kept.8192.share_of_llama"])


class ProcessesTest(unittest.TestCase):
    def test_a_childs_failure_says_why(self) -> None:
        with self.assertRaisesRegex(child.ChildError, "(?s)harness.llama: .*KeyError"):
            child.run("harness.llama", {"action": "no such action"})
        self.assertFalse(child.can_import("no_such_module_anywhere"))
        self.assertTrue(child.can_import("json"))

    def test_files_are_dropped_one_by_one_where_the_machine_may_not_be(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "inner" / "file"
            file.parent.mkdir()
            file.write_bytes(b"x" * 10_000)
            with unittest.mock.patch.object(page_cache, "DROP", pathlib.Path(folder) / "not" / "there"):
                self.assertEqual(page_cache.drop([pathlib.Path(folder)]), "files alone")
            self.assertEqual(file.read_bytes(), b"x" * 10_000)

    def test_the_command_explains_itself(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "harness.peers", "--help"], capture_output=True, check=True, cwd=peers.ROOT / "bench"
        )
        self.assertIn(b"--patience", done.stdout)


if __name__ == "__main__":
    unittest.main()
