"""The base of every settings model: immutable, and strict about unknown keys."""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """One section of a configuration; an unknown key is an error and not a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def first_changed(self, names: Iterable[str]) -> str | None:
        """Return the first of these settings that is not at its default; None if all are.

        A dumped configuration holds every default, so that having been set says nothing.
        """
        fields = type(self).model_fields
        changed = (
            name
            for name in names
            if getattr(self, name) != fields[name].get_default(call_default_factory=True)
        )
        return next(changed, None)


class NamedSettings(Settings):
    """A section that is one of several, told apart by its name."""

    name: str

    def misfit(self, *, budget: bool) -> str | None:
        """Return what is wrong with these settings together; None if nothing is.

        It begins with the setting to change. Only what is read counts, and some models read more
        under a budget. A part of a blend is never trained under one.

        Args:
            budget: Whether they are read under a budget.
        """
        del budget
        return None

    def discloses(self) -> tuple[str, ...]:
        """Return what parties see of single customers without a budget, beyond what training tells.

        One sentence each; a run says them before anything leaves a member.
        """
        return ()
