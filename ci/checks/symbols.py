#!/usr/bin/env python3
"""The library exports what the public headers declare and PetscDLLibraryRegister_*, nothing more and nothing less: PETSc opens
plug-ins with RTLD_GLOBAL, so a stray symbol would be found by everybody. Usage: symbols.py libskean.so [root of the checkout]"""
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import skeansource as src

LINKER = {"__bss_start", "_edata", "_end", "_init", "_fini", "__end__", "_bss_end__", "__bss_end__", "__bss_start__"}


def main():
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    library = Path(sys.argv[1])
    root = Path(sys.argv[2] if len(sys.argv) > 2 else Path(__file__).resolve().parents[2])
    out = subprocess.run(["nm", "-D", "--defined-only", str(library)], capture_output=True, text=True)
    if out.returncode:
        print(out.stderr, end="")
        return 2
    exported = {s.split()[-1].split("@")[0] for s in out.stdout.splitlines() if s.strip()}
    declared = src.declared(root)
    report = src.Report()
    for name in exported - LINKER:
        if name not in declared and not name.startswith("PetscDLLibraryRegister_"):
            readable = subprocess.run(["c++filt", name], capture_output=True, text=True).stdout.strip() or name
            report.add(library.name, 0, f"exports {readable}, which no public header declares")
    for name, (path, line, _) in declared.items():
        if name not in exported:
            report.add(path, line, f"{name} is declared but the library does not export it")
    # one entry for -dll_append, named after the file
    entry = "PetscDLLibraryRegister_" + library.name[3 : library.name.index(".so")].replace("-", "_")
    if entry not in exported:
        report.add(library.name, 0, f"no {entry}: -dll_append would load the library and register nothing")
    print(f"symbols: {len(exported - LINKER)} exported, {len(declared)} declared")
    return report.finish("symbols")


if __name__ == "__main__":
    sys.exit(main())
