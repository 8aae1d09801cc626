#!/usr/bin/env python3
"""Every option named under "Options Database Keys" of a manual page is read by the source, and every option that the source reads
is named in a manual page. Options of PETSc and SLEPc may be named too; they are looked up in the installed libraries.
Usage: options.py [root of the checkout]"""
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import skeansource as src

CALL = re.compile(r"\b(PetscOptions(?!Set|Insert|Clear|Deprecated|Head|Begin|End|Push|Pop|Left|View|Create\b)\w+|SkeanOptions\w+|\w+ViewFromOptions|"
                  r"\w*MonitorSetFromOptions\w*)\s*\(")
LITERAL = re.compile(r'"(-[A-Za-z]\w*)"')
SHARED = re.compile(r'\bOPTION\("(\w+)"\)|"-%s_(\w+)"')


def library_strings():
    """Contents of libpetsc and libslepc, to look up options of theirs"""
    data = b""
    for name, stem in (("PETSc", "libpetsc"), ("SLEPc", "libslepc")):
        out = subprocess.run(["pkg-config", "--variable=libdir", name], capture_output=True, text=True)
        if out.returncode == 0 and out.stdout.strip():
            for lib in sorted({p.resolve() for p in Path(out.stdout.strip()).glob(stem + "*.so")}):
                data += lib.read_bytes()
    return data


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parents[2])
    report = src.Report()
    registered, shared, classes, prefixes = {}, {}, {}, set()
    for path in src.sources(root):
        text = src.without_comments(path.read_text())
        for m in CALL.finditer(text):
            call = text[m.end() - 1 : src.balanced(text, m.end() - 1)]
            name = LITERAL.search(call)
            if name:
                registered.setdefault(name.group(1), (path, src.line_of(text, m.start())))
        for m in SHARED.finditer(text):
            shared.setdefault(m.group(1) or m.group(2), (path, src.line_of(text, m.start())))
        prefixes.update(re.findall(r'OptionsPrefix\([^;"]*"(\w+)"\)', text))
        for m in re.finditer(r'SkeanSolverInit_Private\([^;]*?"(\w+)"', text, re.S):
            classes.setdefault(m.group(1), (path, src.line_of(text, m.start())))
    # what the solver base reads, once for each class that embeds it
    for cls, where in classes.items():
        for name in shared:
            registered.setdefault(f"-{cls}_{name}", where)
    documented = {}
    for path in src.sources(root):
        for page in src.pages(path):
            for line, text in page.section(r"Options? Database( Keys?)?"):
                m = re.match(r"^\s*(?:[+.\-]\s+)?(-[A-Za-z]\w*)", text)
                if m:
                    documented.setdefault(m.group(1), (path, line))
    strings = library_strings()
    for name, (path, line) in documented.items():
        # an inner object's options carry the prefix that its owner gave it
        inner = any(name.startswith("-" + p) and "-" + name[1 + len(p) :] in registered for p in prefixes)
        if name not in registered and not inner:
            if b"\0" + name.encode() + b"\0" not in strings:
                report.add(path, line, f"option {name} is documented but never read")
    for name, (path, line) in registered.items():
        # PETSc's own options may be looked at without a page of ours
        if name not in documented and b"\0" + name.encode() + b"\0" not in strings:
            report.add(path, line, f"option {name} is read but in no manual page")
    print(f"options: {len(registered)} read, {len(documented)} documented")
    return report.finish("options")


if __name__ == "__main__":
    sys.exit(main())
