"""A package that nobody has, in the form in which Microsoft's generator for Python writes one."""

OPERATIONS = '''
def build_create_request(name: str, **kwargs: Any) -> HttpRequest:
    api_version: str = kwargs.pop("api_version", _params.pop("api-version", "2026-01-01"))
    _url = kwargs.pop(
        "template_url",
        "/subscriptions/{subscriptionId}/providers/Microsoft.Example/things/{thingName}",
    )
    path_format_arguments = {
        "subscriptionId": _SERIALIZER.url("subscription_id", subscription_id, "str", min_length=1),
        "thingName": _SERIALIZER.url(
            "name", name, "str", max_length=24, min_length=3, pattern=r"^[-\\w\\._\\(\\)]+$"
        ),
    }
    return HttpRequest(method="PUT", url=_url, params=_params, headers=_headers, **kwargs)


def build_get_request(name: str, **kwargs: Any) -> HttpRequest:
    api_version: str = kwargs.pop("api_version", _params.pop("api-version", "2026-01-01"))
    _url = "/subscriptions/{subscriptionId}/providers/Microsoft.Example/others/{thingName}"
    return HttpRequest(method="GET", url=_url, params=_params, headers=_headers, **kwargs)


def build_put_part_request(name: str, **kwargs: Any) -> HttpRequest:
    api_version: str = kwargs.pop("api_version", _params.pop("api-version", "2026-01-01"))
    _url = "/subscriptions/{subscriptionId}/providers/Microsoft.Example/things/{thingName}/parts/default"
    return HttpRequest(method="PUT", url=_url, params=_params, headers=_headers, **kwargs)


def build_put_top_shelf_request(name: str, **kwargs: Any) -> HttpRequest:
    api_version: str = kwargs.pop("api_version", _params.pop("api-version", "2026-01-01"))
    _url = "/subscriptions/{subscriptionId}/providers/Microsoft.Example/things/{thingName}/shelves/top"
    return HttpRequest(method="PUT", url=_url, params=_params, headers=_headers, **kwargs)


def build_put_low_shelf_request(name: str, **kwargs: Any) -> HttpRequest:
    api_version: str = kwargs.pop("api_version", _params.pop("api-version", "2026-01-01"))
    _url = "/subscriptions/{subscriptionId}/providers/Microsoft.Example/things/{thingName}/shelves/low"
    return HttpRequest(method="PUT", url=_url, params=_params, headers=_headers, **kwargs)


class ThingsOperations:
    def _create_initial(
        self, name: str, body: Union[_models.ThingParameters, IO[bytes]], **kwargs: Any
    ) -> Iterator[bytes]:
        _request = build_create_request(
            name=name,
        )

    def begin_create(
        self, name: str, body: Union[_models.ThingParameters, IO[bytes]], **kwargs: Any
    ) -> LROPoller[_models.Thing]:
        """Makes a thing."""

    def put_part(self, name: str, body: "_models.Part", **kwargs: Any) -> "_models.Part":
        _request = build_put_part_request(
            name=name,
        )

    def put_top_shelf(self, name: str, body: "_models.Part", **kwargs: Any) -> "_models.Part":
        _request = build_put_top_shelf_request(
            name=name,
        )

    def put_low_shelf(self, name: str, body: "_models.Rule", **kwargs: Any) -> "_models.Rule":
        _request = build_put_low_shelf_request(
            name=name,
        )
'''
MODELS = '''
class ThingParameters(_serialization.Model):
    _validation = {
        "location": {"required": True},
        "tier": {"required": True},
        "size": {"maximum": 40, "minimum": 1},
    }
    _attribute_map = {
        "location": {"key": "location", "type": "str"},
        "tier": {"key": "properties.tier", "type": "str"},
        "size": {"key": "properties.size", "type": "int"},
        "is_public": {"key": "properties.isPublic", "type": "bool"},
        "odd": {"key": "properties.odd\\\\.name", "type": "str"},
        "word": {"key": "properties.word", "type": "str"},
        "tiers": {"key": "properties.tiers", "type": "[str]"},
        "inner": {"key": "properties.inner", "type": "Inner"},
        "tags": {"key": "tags", "type": "{str}"},
        "rule": {"key": "properties.rule", "type": "Rule"},
        "free": {"key": "properties.free", "type": "object"},
        "open": {"key": "properties.open", "type": "Open"},
        "since": {"key": "properties.since", "type": "iso-8601"},
    }

    def __init__(
        self,
        *,
        location: str,
        tier: Union[str, "_models.Tier"],
        word: Optional[Literal["only"]] = None,
        tiers: Optional[List[Union[str, "_models.Tier"]]] = None,
        inner: Optional["_models.Inner"] = None,
        **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)


class Thing(_serialization.Model):
    _validation = {"id": {"readonly": True}, "state": {"readonly": True}}
    _attribute_map = {
        "id": {"key": "id", "type": "str"},
        "location": {"key": "location", "type": "str"},
        "state": {"key": "properties.state", "type": "str"},
        "inner": {"key": "properties.inner", "type": "InnerAnswer"},
    }

    def __init__(self, *, location: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.state: Optional[Union[str, "_models.Tier"]] = None


class Inner(_serialization.Model):
    _attribute_map = {"self_": {"key": "self", "type": "Inner"}, "days": {"key": "days", "type": "int"}}


class InnerAnswer(_serialization.Model):
    _attribute_map = {"days": {"key": "days", "type": "int"}, "made": {"key": "made", "type": "str"}}


class Open(_serialization.Model):
    _attribute_map = {
        "additional_properties": {"key": "", "type": "{object}"},
        "known": {"key": "known", "type": "bool"},
    }


class Rule(_serialization.Model):
    _attribute_map = {"kind": {"key": "kind", "type": "str"}}
    _subtype_map = {"kind": {"Days": "Days"}}


class Days(Rule):
    _validation = {"kind": {"required": True}, "days": {"required": True}}
    _attribute_map = {"kind": {"key": "kind", "type": "str"}, "days": {"key": "days", "type": "int"}}


class Part(Inner):
    """Another name for the same."""
'''
ENUMS = '''
class Tier(str, Enum, metaclass=CaseInsensitiveEnumMeta):
    """How warm."""

    HOT = "Hot"
    """Quite."""
    COLD = "Cold"
'''
