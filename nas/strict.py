"""The base of what is read from outside."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A frozen model that takes nothing for what it is not."""

    # strict: "24" is not a number and true is not 1; forbid: a misspelt field is an error, never a silent default.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
