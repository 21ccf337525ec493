"""`GET /v1/models`: versions and aliases as the classifiers have told them, without a look at the models' volume."""

from __future__ import annotations

from aiohttp import web

from convnet_kafka.control import AliasesRecord, ModelRecord
from convnet_kafka.server.api_models import AliasName, ModelShown, ModelsShown
from convnet_kafka.server.control import Control
from convnet_kafka.server.describing import described
from convnet_kafka.server.problems import model_response


class ModelsApi:
    """The handler.

    Args:
        control: what is known of the models.
    """

    def __init__(self, control: Control) -> None:
        self._control = control

    def routes(self) -> list[web.RouteDef]:
        """The routes served here."""
        return [web.get("/v1/models", self.show)]

    @described("Which models classify", tag="service", answers={200: ModelsShown})
    async def show(self, _request: web.Request) -> web.Response:
        """200 with every version, newest last, and which of them classify."""
        state = self._control.models()
        aliases = state.aliases or AliasesRecord()
        return model_response(
            ModelsShown(
                stable=aliases.stable,
                canary=aliases.canary,
                canary_percent=aliases.canary_percent,
                shadow=aliases.shadow,
                models=[_shown(model, aliases) for _, model in sorted(state.models.items())],
            )
        )


def _shown(model: ModelRecord, aliases: AliasesRecord) -> ModelShown:
    names: dict[AliasName, int | None] = {"stable": aliases.stable, "canary": aliases.canary, "shadow": aliases.shadow}
    return ModelShown(
        version=model.version,
        aliases=[name for name, version in names.items() if version == model.version],
        accuracy=dict(model.accuracy),
        served=model.served,
        classes=list(model.classes),
        height=model.height,
        width=model.width,
        channels=model.channels,
        network=model.network,
        created_at_ms=model.created_at_ms,
    )
