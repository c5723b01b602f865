"""What other kernels call is compiled into them, and never to machine code of its own.

numba makes each function ready to be called from Python: it writes a wrapper that reads the arguments, optimizes the
function together with all it calls, and makes machine code. With dozens of arrays to hand over that is most of the time
that compiling a simulator takes. A function that a kernel calls needs none of it, as it is linked into the kernel, and
optimized and compiled there. Such a part is lowered to LLVM code, no more. So machine code differs in nothing but how
long it takes to make.

This builds on numba's own classes, which may change with each version: ``pyproject.toml`` ends at the one tried.
"""

from __future__ import annotations

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import register_pass
from numba.core.registry import CPUDispatcher
from numba.core.typed_passes import NativeLowering
from numba.core.types import Dispatcher

NO_WRAPPERS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


class PartLibrary(JITCodeLibrary):
    """The code of a part, to be linked into that of its callers."""

    def _optimize_final_module(self) -> None:
        """Nothing: callers optimize it as they inline it."""

    def _finalize_final_module(self) -> None:
        """Make no machine code."""
        self._finalize_dynamic_globals()
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class PartLowering(NativeLowering):
    """Lowers a part and tells numba where its code is found."""

    _name = "part_lowering"

    def run_pass(self, state: Any) -> bool:
        """Lower what ``state`` holds."""
        library = PartLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library = library
        state.flags.no_compile = True
        super().run_pass(state)
        name = object()  # nobody calls it: it only stands for this part
        state["cr"] = state["cr"]._replace(cfunc=name)
        state.targetctx.insert_user_function(name, state["cr"].fndesc, [library])
        return True


class PartCompiler(Compiler):
    """numba's compiler with the lowering above."""

    def define_pipelines(self) -> list[Any]:
        """The usual passes, of which one is replaced."""
        (passes,) = super().define_pipelines()
        passes.passes = [(PartLowering if step is NativeLowering else step, told) for step, told in passes.passes]
        passes.finalize()
        return [passes]


class KernelPart(CPUDispatcher):
    """A function compiled for kernels that call it."""

    def __init__(self, function: Any, options: dict[str, Any]) -> None:
        super().__init__(function, targetoptions={**options, **NO_WRAPPERS}, pipeline_class=PartCompiler)

    def add_overload(self, made: Any) -> None:
        """Keep what was compiled, but not for calls from Python."""
        self.overloads[tuple(made.signature.args)] = made


class Kernel(CPUDispatcher):
    """A function compiled for calls from Python; kernels that call it get the part instead."""

    def __init__(self, function: Any, options: dict[str, Any]) -> None:
        super().__init__(function, targetoptions=options)
        self._part = KernelPart(function, options)
        self.typingctx._remove_global(self)  # numba has noted that kernels call this itself
        self.typingctx.insert_global(self, self._numba_type_)

    @property
    def _numba_type_(self) -> Dispatcher:
        return Dispatcher(self._part)


def known_to_kernels(function: Any, options: dict[str, Any]) -> None:
    """Have kernels that call a Python function get a part that is compiled from it."""
    function._part = part = KernelPart(function, options)  # numba's types refer to it weakly
    part.typingctx.insert_global(function, Dispatcher(part))
