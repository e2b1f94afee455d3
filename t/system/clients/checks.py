"""What the Python suites share: each check prints one line of JSON, its name and null or what went wrong."""

import json


def check(body):
    wrong = None
    try:
        body()
    except Exception as error:
        wrong = f"{type(error).__name__}: {error}"
        while (error := error.__cause__ or error.__context__) is not None:
            wrong += f" <- {type(error).__name__}: {error}"
    print(json.dumps({"name": body.__name__, "wrong": wrong}), flush=True)
    return body


def named(prefix):
    """check(), with the behaviour's name behind a prefix."""
    def decorate(body):
        body.__name__ = prefix + body.__name__
        return check(body)
    return decorate
