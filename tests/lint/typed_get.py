# SPDX-License-Identifier: MIT
"""A plugin of mypy: ``document.get("key")`` with a key that the TypedDict does not have is an error.

mypy itself only checks ``document["key"]`` and takes an unknown key of ``get`` for one that a subclass may have, so
that a misspelt condition would be false for ever.
"""

from __future__ import annotations

from collections.abc import Callable

from mypy.nodes import StrExpr
from mypy.plugin import MethodContext, Plugin
from mypy.plugins.default import typed_dict_get_callback
from mypy.types import Type, TypedDictType


def known_key(context: MethodContext) -> Type:
    document, key = context.type, context.args[0][0]
    if isinstance(document, TypedDictType) and isinstance(key, StrExpr) and key.value not in document.items:
        context.api.fail(f'TypedDict has no key "{key.value}"', key)
    return typed_dict_get_callback(context)


class TypedGet(Plugin):
    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        return known_key if fullname == "typing.Mapping.get" else None


def plugin(version: str) -> type[Plugin]:
    return TypedGet
