"""Write API.md from the docstrings of the package; --check: fail where it is not what they say.

Reads the source (and the extension's C source), so that nothing need be built.
"""

import ast
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = HERE / "cachetastic"
MODULES = (("cachetastic", "cache", ["Cache"]), ("cachetastic", "aio", ["AsyncCache"]),
           ("cachetastic.serializers", "serializers", ["serializer"]), ("cachetastic.errors", "errors", None),
           ("cachetastic.django", "django", ["CachetasticCache"]),
           ("cachetastic.dogpile", "dogpile", ["CachetasticBackend", "Mutex"]))


def docs_in_c():
    """The methods that the extension documents: name, and its docstring."""
    text = (HERE / "src" / "client.c").read_text()
    found = {}
    for literals in re.findall(r"PyDoc_STRVAR\(\w+,\s*((?:\"(?:[^\"\\]|\\.)*\"\s*)+)\)", text):
        doc = "".join(ast.literal_eval(part) for part in re.findall(r"\"(?:[^\"\\]|\\.)*\"", literals))
        signature, _, rest = doc.partition("\n\n")
        if not signature.startswith("_"):
            found[signature] = rest
    return found


def paragraphs(doc):
    """Docstrings wrap at the code's width; examples, which are indented, stay."""
    blocks = re.split(r"\n\s*\n", doc)
    return "\n\n".join(block if block.startswith("    ") else " ".join(block.split()) for block in blocks)


def clean(doc):
    lines = doc.expandtabs().splitlines()
    indent = min((len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()), default=0)
    return paragraphs("\n".join([lines[0].strip()] + [line[indent:] for line in lines[1:]]).strip())


def signature(function):
    arguments = ast.unparse(function.args)
    arguments = re.sub(r"^self(, )?", "", arguments)
    return f"{'await ' if isinstance(function, ast.AsyncFunctionDef) else ''}{function.name}({arguments})"


def public(node):
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_") and \
        ast.get_docstring(node, clean=False)


def describe_class(node, module, extension):
    init = next((one for one in node.body if getattr(one, "name", "") == "__init__"), None)
    if init is None or module == "errors":
        base = f"({', '.join(ast.unparse(one) for one in node.bases)})" if module == "errors" else ""
        yield f"### {node.name}{base}"
    else:
        yield f"### {signature(init).replace('__init__', node.name)}"
    yield clean(ast.get_docstring(node, clean=False))
    methods = [(signature(one), clean(ast.get_docstring(one, clean=False))) for one in node.body if public(one)]
    if node.name == "Cache":
        methods = [(name, paragraphs(doc)) for name, doc in extension.items()] + methods
    for name, doc in methods:
        yield f"- **`{name}`**: " + doc.replace("\n\n", "\n\n  ")


def document():
    yield "# API of the Python package"
    yield "Made by `make_api.py` from the docstrings; do not edit."
    extension = docs_in_c()
    for title, module, names in MODULES:
        tree = ast.parse((PACKAGE / f"{module}.py").read_text())
        yield f"## {title}" + (" (asyncio)" if module == "aio" else "")
        yield clean(ast.get_docstring(tree, clean=False))
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and (names is None or node.name in names):
                yield from describe_class(node, module, extension)
            elif names and public(node) and node.name in names:
                yield f"### {signature(node)}"
                yield clean(ast.get_docstring(node, clean=False))


def main():
    text = "\n\n".join(document()) + "\n"
    path = HERE / "API.md"
    if "--check" not in sys.argv[1:]:
        path.write_text(text)
        return 0
    if path.exists() and path.read_text() == text:
        return 0
    print("clients/python/API.md is not what the docstrings say: run clients/python/make_api.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
