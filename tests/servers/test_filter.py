"""What takes the place of the role filter, which no web server here calls:
examples/filter.lua as a responder that opens the file which the web server
names.

SPDX-License-Identifier: MIT
"""
import pathlib
import re

import pytest
import webserver
from http_client import request

EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "examples" / \
    "filter.lua"


class Nginx(webserver.NginxClose):
    """With the lines that the example gives."""

    def replacements(self):
        name = re.search(r"^-- +(fastcgi_param SCRIPT_FILENAME .*;)$",
                         EXAMPLE.read_text(), re.M)[1]
        line = "include /etc/nginx/fastcgi_params;\n"
        return {**super().replacements(),
                line: f"{line}{name}\nroot {self.folder.path};\n"}


@pytest.mark.parametrize("kind", [Nginx, webserver.LighttpdRemote,
                                  webserver.LighttpdSpawn],
                         ids=lambda kind: kind.name)
def test_a_page_is_filled_in(kind):
    with kind(EXAMPLE) as server:
        server.folder.place("page.html", "<p>{{name}}: {{body}}</p>\n")
        answer = request(server.address, "POST", "/page.html?name=Ada+%26",
                         body=b"<posted>")
        assert answer.status == 200
        assert answer.body == b"<p>Ada &amp;: &lt;posted&gt;</p>\n"
        assert request(server.address, "GET", "/missing.html").status == 404
        assert request(server.address, "GET", "/../../etc/passwd"
                       ).status in (400, 404)
