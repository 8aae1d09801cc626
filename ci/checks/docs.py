#!/usr/bin/env python3
"""Every public function has a complete manual page: collectivity, parameters by the prototype's names, Level, .seealso with targets
that exist; every type, class and enum too. Usage: docs.py [root of the checkout]"""
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import skeansource as src

COLLECTIVITY = re.compile(r"^\s*(Collective|Not Collective|Logically Collective|Neighbor-wise Collective)\b", re.M)
LEVEL = re.compile(r"^\s*Level:\s*(beginner|intermediate|advanced|developer)\s*$", re.M)
PARAMETERS = r"(Input|Output|Input/Output) Parameters?"


def check_list(page, report):
    """Names of the parameters; complains about lists that PETSc's form does not allow"""
    names = []
    for heading in ("Input", "Output", "Input/Output"):
        items = []
        for line, text in page.section(re.escape(heading) + r" Parameters?"):
            m = re.match(r"^\s*([+.\-])\s+(\w+(?:\s*,\s*\w+)*)\s+-\s+\S", text)
            if m:
                items.append((line, m.group(1)))
                names += [s.strip() for s in m.group(2).split(",")]
            elif re.match(r"^\s*[+.\-]\s", text):
                report.add(page.path, line, f"{page.name}: a parameter is written '. name - description'")
        marks = "".join(mark for _, mark in items)
        if marks and not re.fullmatch(r"\.|\+\.*-", marks):
            report.add(page.path, items[0][0], f"{page.name}: a list has '+' first, '-' last and '.' between, a single item '.'; here '{marks}'")
    return names


def check_common(page, known, report):
    if not LEVEL.search(page.body):
        report.add(page.path, page.line, f"{page.name}: no Level: beginner|intermediate|advanced|developer")
    m = re.search(r"^\s*\.seealso\s*:?(.*)", page.body, re.M | re.S)
    if not m or not m.group(1).strip():
        report.add(page.path, page.line, f"{page.name}: no .seealso")
        return
    targets = re.findall(r"`([^`]+)`", m.group(1))
    if not targets:
        report.add(page.path, page.line, f"{page.name}: names in .seealso are written `Name()`")
    for t in targets:
        t = t.rstrip("()")
        if t not in known:
            report.add(page.path, page.line, f"{page.name}: .seealso names {t}, which nobody declares")


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parents[2])
    report = src.Report()
    declared, types = src.declared(root), src.type_names(root)
    found = [p for path in src.public_headers(root) + src.sources(root) for p in src.pages(path)]
    ours = set(declared) | set(types) | {p.name for p in found}
    for path in src.public_headers(root):
        ours |= set(re.findall(r"\b[A-Za-z]\w+", src.without_comments(path.read_text())))
    known = ours | src.external_identifiers()

    functions = {}
    for page in found:
        if not page.name:
            report.add(page.path, page.line, "a manual page begins with 'Name - one line'")
        elif page.kind == "@":
            functions.setdefault(page.name, page)
        check_common(page, known, report)

    for name, (path, line, prototype) in declared.items():
        if prototype is None:
            continue
        if "" in prototype:
            report.add(path, line, f"{name}: every parameter of a public prototype has a name")
        page = functions.get(name)
        if not page:
            report.add(path, line, f"{name}: no manual page in src")
            continue
        if not COLLECTIVITY.search(page.body):
            report.add(page.path, page.line, f"{name}: does not say whether it is collective")
        documented = check_list(page, report)
        for p in prototype:
            if p and p not in documented:
                report.add(page.path, page.line, f"{name}: parameter {p} is not documented")
        for p in documented:
            if p not in prototype:
                report.add(page.path, page.line, f"{name}: documents {p}, which the prototype does not have")
        # the definition follows its page, with the same names
        code = src.without_comments(page.after)
        d = re.match(r"\s*(?:\w+\s+)?PetscErrorCode\s+(\w+)\s*\(", code)
        if not d or d.group(1) != name:
            report.add(page.path, page.line, f"{name}: the page does not stand above the definition")
        else:
            names = src.parameters(code[d.end() : src.balanced(code, d.end() - 1) - 1])
            if names != prototype:
                report.add(page.path, page.line, f"{name}: definition has ({', '.join(names)}), header has ({', '.join(prototype)})")
    for name, page in functions.items():
        if name not in declared:
            report.add(page.path, page.line, f"{name}: has a manual page but no public header declares it")

    # classes and enums of the public headers
    named = {p.name for p in found if p.kind in ("S", "E", "J")}
    for path in src.public_headers(root):
        text = src.without_comments(path.read_text())
        for m in re.finditer(r"^typedef\s+(?:struct\s+\w+\s*\*|enum\s*\{[^}]*\}\s*|const\s+char\s*\*)(\w+)\s*;", text, re.M):
            if m.group(1) not in named:
                report.add(path, src.line_of(text, m.start()), f"{m.group(1)}: a public type has a page /*S, /*E or /*J")

    # registered types: those of the public headers, and whatever a ...Register() call names
    code = {path: src.without_comments(path.read_text()) for path in src.sources(root) + sorted((root / "include").rglob("private/*"))}
    described = {p.name for p in found if p.kind == "MC"}
    for name, (path, line, value) in types.items():
        used = any(re.search(rf"\b{name}\b", text) for text in code.values())
        if not used:
            report.add(path, line, f"{name}: a type of the public headers is never registered")
        elif name not in described:
            report.add(path, line, f"{name}: a registered type has a page /*MC {name} - ... M*/")
    for path, text in code.items():
        for m in re.finditer(r'\b(?:KSP|PC|Mat|Vec|Tao|Skean\w+)Register\(\s*("[^"]*")', text):
            report.add(path, src.line_of(text, m.start()), f"type {m.group(1)} is registered by a string: give it a name in a public header")
    print(f"docs: {len(declared)} public names, {len(found)} pages, {len(types)} types")
    return report.finish("docs")


if __name__ == "__main__":
    sys.exit(main())
