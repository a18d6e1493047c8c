"""What the Python tests share: a FastCGI client and a gateway to talk to.

SPDX-License-Identifier: MIT
"""
