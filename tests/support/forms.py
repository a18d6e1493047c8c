"""Bodies of forms, as browsers and others send them.

SPDX-License-Identifier: MIT
"""
from support.fastcgi import as_bytes

BOUNDARY = "----WebKitFormBoundary0aB9xY"


def field(name, value):
    """A field as a browser writes it."""
    return f'Content-Disposition: form-data; name="{name}"', value


def file(name, filename, content, type="application/octet-stream"):
    return (f'Content-Disposition: form-data; name="{name}"; '
            f'filename="{filename}"\r\nContent-Type: {type}', content)


def multipart(*parts, boundary=BOUNDARY, end=True):
    """The body that has these parts: pairs of head and content, the head as
    text without its last newlines."""
    line = b"--" + as_bytes(boundary)
    body = b"".join(line + b"\r\n" + as_bytes(head) + b"\r\n\r\n" +
                    as_bytes(content) + b"\r\n" for head, content in parts)
    return body + (line + b"--\r\n" if end else b"")


def params(boundary=BOUNDARY, **more):
    """The parameters of a request with such a body."""
    return {"REQUEST_METHOD": "POST",
            "CONTENT_TYPE": f"multipart/form-data; boundary={boundary}",
            **more}


URLENCODED = {"REQUEST_METHOD": "POST",
              "CONTENT_TYPE": "application/x-www-form-urlencoded"}
