#!/usr/bin/env python3
"""crds.py [--check]: the CustomResourceDefinitions of the policy kinds, out of policies/schema.json.

Writes deploy/helm/touchstone/crds/, or with --check says what would differ (exit code 1). A server takes structural
schemas alone, so what these cannot say is said otherwise, or the attestor says it:

- `additionalProperties: false` is left out: a server refuses or drops what it does not know by itself.
- `const` becomes an `enum` of one.
- properties by pattern are written out: those of the numbers 0 to 99 that match.
- where a part may be written in several ways, the one that is an object counts.
- a `default` becomes words: a server would write it into the object, whose text is what was signed.

A keyword that is not known here ends it with an error: nothing is left out unseen.
"""

import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "policies" / "schema.json"
FOLDER = ROOT / "deploy" / "helm" / "touchstone" / "crds"

# Plural, and what `kubectl get` shows of it besides name, effect and age: below which heading, where it is.
KINDS = {
    "HostPolicy": ("hostpolicies", {"Hosts": ".spec.hosts"}),
    "ReferenceValues": ("referencevalues", {"LifeCycle": ".spec.lifeCycle", "Provenance": ".spec.provenance"}),
    "Region": ("regions", {"Countries": ".spec.countries", "Except": ".spec.except"}),
    "WorkloadPolicy": (
        "workloadpolicies",
        {"Namespaces": ".spec.pod.namespaces", "Tier": ".spec.host.tier", "Region": ".spec.host.region"},
    ),
}
# What a structural schema may say of a value as JSON Schema does.
KEPT = {"type", "enum", "pattern", "minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength",
        "minimum", "maximum", "required", "uniqueItems"}

INTEGER = {"type": "integer", "format": "int64"}
# What the attestor writes, attestor/kubernetes/src/objects.rs.
STATUS = {
    "description": "What the attestor made of it",
    "type": "object",
    "properties": {
        "observedGeneration": {"description": "The generation that this is about", **INTEGER},
        "effect": {"description": "Whether it is in force: `InForce`, `Refused`, `Busy` until the next try, or `Ignored` where the attestor takes "
            "policies from elsewhere", "type": "string"},
        "message": {"description": "Why not, in words", "type": "string"},
        "version": {"description": "The version that all manifests of the cluster make up together", **INTEGER},
        "digest": {
            "description": "SHA-256 of that version's text, which verdicts and decisions name",
            "type": "string",
        },
    },
}


class Unknown(Exception):
    """What this script cannot carry over."""


def structural(schema, definitions):
    """`schema` of a value inside `spec`, as a server takes it."""
    if "$ref" in schema:
        return structural(definitions[schema["$ref"].removeprefix("#/$defs/")], definitions)
    ways = schema.get("oneOf") or schema.get("anyOf")
    if ways:
        way = next((way for way in ways if way.get("type") == "object"), None)
        if way is None:
            raise Unknown(f"several ways and none is an object: {schema}")
        rest = {key: value for key, value in schema.items() if key not in ("oneOf", "anyOf")}
        return structural({**way, **rest}, definitions)
    out = {}
    for key, value in schema.items():
        if key in KEPT:
            out[key] = value
        elif key == "properties":
            out[key] = {name: structural(part, definitions) for name, part in value.items()}
        elif key == "items":
            out[key] = structural(value, definitions)
        elif key == "const":
            out["enum"] = [value]
        elif key == "patternProperties":
            out.setdefault("properties", {}).update(written_out(value, definitions))
        elif key == "additionalProperties" and value is not False:
            out[key] = structural(value, definitions)
        elif key not in ("additionalProperties", "description", "default", "title"):
            raise Unknown(f"`{key}` in {schema}")
    words = [schema[key] for key in ("description",) if key in schema]
    if "default" in schema:
        words.append(f"without it: {json.dumps(schema['default']).strip(chr(34))}")
    if words:
        out["description"] = "; ".join(words)
    if "type" not in out:
        out["type"] = type_of(out)
    if out["type"] == "integer":
        out["format"] = "int64"
    return dict(sorted(out.items(), key=order))


def written_out(patterns, definitions):
    """Properties whose names match a pattern, for patterns that are of small numbers."""
    out = {}
    for pattern, part in patterns.items():
        names = [str(number) for number in range(100) if re.search(pattern, str(number))]
        if not names:
            raise Unknown(f"names that match `{pattern}` cannot be written out")
        out.update({name: structural(part, definitions) for name in names})
    return out


def type_of(schema):
    """Every value needs a type; an enum need not have named one."""
    types = {bool: "boolean", str: "string", int: "integer"}
    found = {types.get(type(value)) for value in schema.get("enum", [])}
    if len(found) != 1 or None in found:
        raise Unknown(f"no type in {schema}")
    return found.pop()


def order(item):
    """Words first, what is inside last."""
    ranks = {"description": 0, "type": 1, "format": 2, "properties": 9, "items": 9, "additionalProperties": 9}
    return ranks.get(item[0], 5)


def definition(kind, definitions):
    plural, columns = KINDS[kind]
    manifest = definitions[kind]
    shown = [{"name": name, "type": "string", "jsonPath": path} for name, path in columns.items()]
    shown.append({"name": "Effect", "type": "string", "jsonPath": ".status.effect"})
    shown.append({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"})
    schema = {
        "description": manifest["description"],
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(manifest["properties"]["spec"], definitions),
            "status": STATUS,
        },
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": shown,
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.touchstone.dev"},
        "spec": {
            "group": "touchstone.dev",
            "scope": "Cluster",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "categories": ["touchstone"],
            },
            "versions": [version],
        },
    }


def yaml(value, indent=0):
    """Lines of YAML, of what comes out of JSON."""
    pad = "  " * indent
    if isinstance(value, dict):
        for key, inner in value.items():
            name = key if re.fullmatch(r"[A-Za-z][A-Za-z0-9.-]*", key) else json.dumps(key)
            if isinstance(inner, (dict, list)) and inner:
                yield f"{pad}{name}:"
                yield from yaml(inner, indent + (0 if isinstance(inner, list) else 1))
            else:
                yield f"{pad}{name}: {scalar(inner)}"
    else:
        for inner in value:
            if isinstance(inner, dict) and inner:
                first, *rest = yaml(inner, indent + 1)
                yield f"{pad}- {first.lstrip()}"
                yield from rest
            else:
                yield f"{pad}- {scalar(inner)}"


def scalar(value):
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z.][A-Za-z0-9 ,;()/.'-]*[A-Za-z0-9)]", value)
    words = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
    return value if plain and value.lower() not in words else json.dumps(value, ensure_ascii=False)


def main():
    definitions = json.loads(SCHEMA.read_text())["$defs"]
    differ = []
    for kind, (plural, _) in KINDS.items():
        head = "# Made by deploy/build/crds.py out of policies/schema.json; change that, and run it.\n"
        text = head + "\n".join(yaml(definition(kind, definitions))) + "\n"
        path = FOLDER / f"{plural}.yaml"
        if path.exists() and path.read_text() == text:
            continue
        differ.append(str(path.relative_to(ROOT)))
        if "--check" not in sys.argv:
            FOLDER.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    if differ and "--check" in sys.argv:
        sys.exit(f"crds: not what policies/schema.json says: {', '.join(differ)}; next: run deploy/build/crds.py")


if __name__ == "__main__":
    try:
        main()
    except Unknown as error:
        sys.exit(f"crds: a structural schema cannot say this, teach deploy/build/crds.py: {error}")
