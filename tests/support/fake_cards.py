"""What the Hub's validator says of a card: errors of its front matter, after the rules that it publishes."""

import re

LISTS = ("tags", "datasets", "size_categories", "task_categories", "task_ids", "configs", "metrics", "model-index")
TEXTS = ("library_name", "license_name", "license_link", "pretty_name", "pipeline_tag")
LICENCES = {"apache-2.0", "mit", "cc-by-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-sa-4.0", "cc0-1.0", "other",
            "unknown"}  # fmt: skip
SIZES = {"n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M"}


def errors(content):
    """The errors of a card, each as ``{"message": …}``; none where it is good."""
    import yaml

    found = re.match(r"^---\r?\n(.*?)\r?\n---", content, re.S)
    try:
        data = yaml.safe_load(found[1]) if found else {}
    except yaml.YAMLError as error:
        return [{"message": f"not valid YAML: {error}"}]
    said = [f'"{key}" must be an array' for key in LISTS if key in data and not isinstance(data[key], list)]
    said += [f'"{key}" must be a string' for key in TEXTS if key in data and not isinstance(data[key], str)]
    licences = data.get("license", [])
    for licence in licences if isinstance(licences, list) else [licences]:
        said += [] if licence in LICENCES else [f'"license" must be one of [{", ".join(sorted(LICENCES))}]']
    if data.get("license") == "other" and not (data.get("license_name") or data.get("license_link")):
        said.append('"license_name" is required with license: other')
    said += [f'"size_categories" holds {one}' for one in data.get("size_categories", ()) if one not in SIZES]
    for model in data.get("model-index", ()) if not said else ():
        if not model.get("name"):
            said.append('"model-index[0].name" is required')
        for result in model.get("results", ()):
            for part, keys in {"task": ("type",), "dataset": ("type", "name")}.items():
                said += [f'"{part}.{key}" is required' for key in keys if not result.get(part, {}).get(key)]
            said += ['"metrics" is required'] if not result.get("metrics") else []
            said += ["a metric has no type or value" for metric in result.get("metrics", ())
                     if not metric.get("type") or metric.get("value") is None]  # fmt: skip
    return [{"message": one} for one in said]
