"""What the checks share: reading Skean's headers, manual pages and calls. No dependency but Python's own library."""
import re
import subprocess
from pathlib import Path

PAGE = re.compile(r"/\*(@C?|MC|S|E|J)[ \t]*\n(.*?)(?:@|M|S|E|J)\*/", re.S)
# a heading stands alone on its line, but for those that are followed by text
FIELD = re.compile(r"^\s*(?:([A-Z][\w/ `()-]*?)\s*:\s*$|(?:Level|Notes?|Errors?|Source|References?|Developer Notes?)\s*:)")


class Report:
    """Collects complaints as file:line: text and ends the program with their number."""

    def __init__(self):
        self.complaints = []

    def add(self, path, line, text):
        self.complaints.append(f"{path}:{line}: {text}")

    def finish(self, what):
        for complaint in sorted(set(self.complaints)):
            print(complaint)
        n = len(set(self.complaints))
        print(f"{what}: {'nothing to complain about' if n == 0 else str(n) + ' complaint' + ('s' if n > 1 else '')}")
        return 1 if n else 0


def sources(root):
    return sorted(p for p in (Path(root) / "src").rglob("*") if p.suffix in (".c", ".cxx", ".hpp", ".h"))


def public_headers(root):
    return sorted((Path(root) / "include").glob("*.h"))


def without_comments(text):
    """Comments become spaces, strings stay; line numbers are kept."""

    def blank(m):
        s = m.group(0)
        return s if s[0] in "\"'" else re.sub(r"[^\n]", " ", s)

    return re.sub(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'|/\*.*?\*/|//[^\n]*', blank, text, flags=re.S)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def balanced(text, opening):
    """Position after the parenthesis that closes the one at opening."""
    depth, i, n = 0, opening, len(text)
    while i < n:
        c = text[i]
        if c == '"':
            i += 1
            while i < n and text[i] != '"':
                i += 2 if text[i] == "\\" else 1
        elif c == "(":
            depth += 1
        elif c == ")":
            depth -= 1
            if depth == 0:
                return i + 1
        i += 1
    return n


def split_arguments(text):
    parts, depth, current = [], 0, ""
    for c in text:
        if c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        if c == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += c
    if current.strip():
        parts.append(current)
    return [p.strip() for p in parts]


def parameter_name(declaration):
    """The name in 'const char name[]', 'PetscErrorCode (*f)(Vec, void *)', 'Vec *x'; '' if there is none."""
    m = re.search(r"\(\s*\*\s*(\w+)\s*(?:\[[^\]]*\])?\)\s*\(", declaration)
    if m:
        return m.group(1)
    stripped = re.sub(r"\[[^\]]*\]", "", declaration).strip()
    m = re.match(r"^.*[\s*&](\w+)$", stripped, re.S)
    if not m or m.group(1) in ("int", "char", "double", "void", "const", "long", "unsigned"):
        return ""
    return m.group(1)


def parameters(text):
    args = split_arguments(text)
    return [] if args in ([], ["void"]) else [parameter_name(a) for a in args]


def declared(root):
    """Everything marked SKEAN_EXTERN in the public headers: name -> (path, line, parameter names or None for a variable)"""
    found = {}
    for path in public_headers(root):
        text = without_comments(path.read_text())
        for m in re.finditer(r"^SKEAN_EXTERN\s+(.*?);", text, re.M | re.S):
            body, line = m.group(1), line_of(text, m.start())
            f = re.match(r"(?:const\s+)?\w+[\s*]+(\w+)\s*\(", body)
            if f:
                close = balanced(body, f.end() - 1)
                found[f.group(1)] = (path, line, parameters(body[f.end() : close - 1]))
            else:
                name = re.search(r"(\w+)\s*(?:\[[^\]]*\])?\s*$", body).group(1)
                found[name] = (path, line, None)
    return found


def type_names(root):
    """String constants of the public headers that name a type: KSPSKETCH -> (path, line, 'sketch')"""
    found = {}
    for path in public_headers(root):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            m = re.match(r'#\s*define\s+([A-Z][A-Z0-9]*)\s+"([\w-]+)"', line)
            if m:
                found[m.group(1)] = (path, number, m.group(2))
    return found


class Page:
    """A manual page: kind (@, MC, S, E, J), name, summary, lines, and the code that follows it"""

    def __init__(self, path, text, match):
        self.path, self.kind, self.body = path, match.group(1).rstrip("C") if match.group(1) != "MC" else "MC", match.group(2)
        self.line = line_of(text, match.start())
        self.after = text[match.end() :]
        first = next((s for s in self.body.splitlines() if s.strip()), "")
        m = re.match(r"\s*(\w+)\s+-\s+(\S.*)", first)
        self.name, self.summary = (m.group(1), m.group(2)) if m else ("", "")

    def section(self, pattern):
        """Lines of the sections whose heading matches the pattern, each with its line number"""
        out, inside = [], False
        for k, s in enumerate(self.body.splitlines()):
            head = FIELD.match(s)
            if re.match(r"^\s*\.seealso", s):
                inside = False
            elif head and not re.match(r"^\s*[+.\-]\s", s):
                inside = re.fullmatch(pattern, (head.group(1) or "").strip()) is not None
                continue
            if inside:
                out.append((self.line + 1 + k, s))
        return out


def pages(path):
    text = Path(path).read_text()
    return [Page(path, text, m) for m in PAGE.finditer(text)]


def external_headers(names=("PETSc", "SLEPc")):
    """Include folders of PETSc and SLEPc, from pkg-config"""
    folders = []
    for name in names:
        out = subprocess.run(["pkg-config", "--variable=includedir", name], capture_output=True, text=True)
        if out.returncode == 0 and out.stdout.strip():
            folders.append(Path(out.stdout.strip()))
    return folders


def external_identifiers():
    """Every identifier of the installed PETSc and SLEPc headers; empty where pkg-config finds none"""
    words = set()
    for folder in external_headers():
        for path in list(folder.glob("*.h")) + list(folder.glob("petsc/private/*.h")) + list(folder.glob("slepc/private/*.h")):
            words.update(re.findall(r"[A-Za-z_]\w+", path.read_text(errors="replace")))
    return words
