"""``hasten study`` from end to end: run, then write the report, the Markdown page and the tables."""

from __future__ import annotations

from pathlib import Path

from hasten.core.errors import HastenError
from hasten.core.output import check_file, check_folder
from hasten.study.pool import ProgressCall


def study(
    name: str, out: Path, docs: Path | None, seeds: int, quick: bool, ray_address: str | None, progress: ProgressCall
) -> list[Path]:
    """Do one study, or all of them, and return the files that say what came out.

    Args:
        name: a sweep, ``ablation`` or ``all``.
        out: where the result cache, tables, policies and the report go; what is there already is not done again.
        docs: where ``results.md`` and its figures go; ``out`` by default.
        seeds: realizations for each point.
        quick: few points, seeds and schedulers.
        ray_address: a Ray cluster to use instead of the local cores.
        progress: told what is being done.

    Raises:
        InputError: an unknown name, or a folder that cannot be written.
        HastenError: a package of the extra ``study`` is missing.
    """
    try:
        from hasten.report.document import write_html, write_markdown
        from hasten.report.made import made_blocks
        from hasten.study.results import blocks_of
        from hasten.study.run import plan_of, run_study
    except ImportError as error:
        raise HastenError(f"study needs {error.name}: pip install 'hasten[study]'") from None
    plan = plan_of(name, seeds, quick)
    markdown, report = (docs or out) / "results.md", out / "report.html"
    check_file(report, "out")
    pages = "out" if docs is None else "docs"
    check_file(markdown, pages)
    check_folder(markdown.with_suffix(""), pages)
    done = run_study(plan, out, ray_address, progress)
    command = f"hasten study {name}{' --quick' if quick else ''} --seeds {plan.seeds}"
    blocks = blocks_of(done, command)
    write_html(report, [*blocks, *made_blocks(command, range(plan.seeds), {})])
    write_markdown(markdown, blocks)
    found = [report, markdown, *sorted(out.glob("runs.*")), *sorted(out.glob("ablation.*"))]
    return [path for path in found if path.exists()]
