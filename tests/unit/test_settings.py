"""Settings: one file and the environment, and what is said when they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.ranges import RANGES
from stream.settings import Settings, SettingsError, read_settings, redacted, section_types, setting_names


def write(folder: Path, text: str) -> Path:
    file = folder / "alluvium.toml"
    file.write_text(text, "utf-8")
    return file


def test_no_file_and_no_variables_mean_the_defaults() -> None:
    """Everything has a default; variables of other programs mean nothing."""
    assert read_settings(None, {"PATH": "/bin", "KAFKA__PARTITIONS": "3"}) == Settings()


def test_a_file_sets_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    """Numbers, texts, flags and tables come as they are written."""
    text = "[kafka]\npartitions = 3\n[recommend]\nexclude_purchased = true\n"
    text += '[[events.types]]\nname = "listen"\nweight = 2\n'
    settings = read_settings(write(tmp_path, text), {})
    assert settings.kafka.partitions == 3
    assert settings.kafka.bootstrap_servers == Settings().kafka.bootstrap_servers
    assert settings.recommend.exclude_purchased is True
    assert settings.event_types().names == ("listen",)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """Every kind of value can stand in a variable; lists as JSON."""
    file = write(tmp_path, '[kafka]\npartitions = 3\ntopic_prefix = "file."\n')
    variables = {
        "ALLUVIUM_KAFKA__PARTITIONS": "5",
        "ALLUVIUM_TRAINER__REFRESH_SECONDS": "0.5",
        "ALLUVIUM_RECOMMEND__EXCLUDE_PURCHASED": "true",
        "ALLUVIUM_EVENTS__TYPES": '[{"name": "listen", "weight": 1, "aliases": ["play"]}]',
    }
    settings = read_settings(file, variables)
    assert settings.kafka.partitions == 5
    assert settings.kafka.topic_prefix == "file."
    assert settings.trainer.refresh_seconds == 0.5
    assert settings.recommend.exclude_purchased is True
    assert settings.event_types().canonical("play") == "listen"


def test_the_intent_of_lists_is_a_type_by_any_of_its_names() -> None:
    """Empty leaves it to the artifact."""
    assert Settings().intent() is None
    assert read_settings(None, {"ALLUVIUM_RECOMMEND__INTENT": "buy"}).intent() == "purchase"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[kafka]\npartition = 3\n", r"unknown setting kafka\.partition; did you mean 'partitions'\?"),
        ("[kafca]\npartitions = 3\n", r"unknown section \[kafca\]; did you mean 'kafka'\?"),
        ("[zzzzzz]\n", r"unknown section \[zzzzzz\]; known: kafka, events"),
        ("kafka = 3\n", r"kafka must be a section: \[kafka\]"),
        ("[kafka\n", "is not valid TOML"),
        ('[kafka]\npartitions = "many"\n', r"\$\.kafka\.partitions"),
        ('[kafka]\npartitioner = "random"\n', r"\$\.kafka\.partitioner"),
        ('[[events.types]]\nname = "a"\nweigth = 1\n', "weigth"),
        ('[recommend]\nintent = "dislike"\n', "recommend.intent 'dislike' is no event type of positive weight"),
        ('[recommend]\nintent = "zzz"\n', "recommend.intent 'zzz'"),
        ('[[events.types]]\nname = "a"\n[[events.types]]\nname = "b"\naliases = ["a"]\n', "'a' is named twice"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    """The message names the file, the key, and the nearest known one for a typing error."""
    with pytest.raises(SettingsError, match=says):
        read_settings(write(tmp_path, text), {})


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("ALLUVIUM_KAFKA__BOOTSTRAP_SERVER", "h:1", "ALLUVIUM_KAFKA__BOOTSTRAP_SERVER.*'bootstrap_servers'"),
        ("ALLUVIUM_KAFKA_BOOTSTRAP_SERVERS", "h:1", "did you mean 'ALLUVIUM_KAFKA__BOOTSTRAP_SERVERS'"),
        ("ALLUVIUM_WORKERS__HTTP_PORT", "1", r"\[workers\]; did you mean 'worker'"),
        ("ALLUVIUM_EVENTS__TYPES", "click,cart", "ALLUVIUM_EVENTS__TYPES must be a JSON list"),
        ("ALLUVIUM_KAFKA__PARTITIONS", "8.5", r"\$\.kafka\.partitions"),
    ],
)
def test_a_wrong_variable_is_refused_by_name(variable: str, value: str, says: str) -> None:
    """A misspelt variable is an error as a misspelt key is: it is never ignored."""
    with pytest.raises(SettingsError, match=says):
        read_settings(None, {variable: value})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """So is one that is no file."""
    with pytest.raises(SettingsError, match=r"nowhere\.toml does not exist"):
        read_settings(tmp_path / "nowhere.toml", {})
    with pytest.raises(SettingsError, match="cannot be read"):
        read_settings(tmp_path, {})


@pytest.mark.parametrize("name", RANGES)
def test_a_number_out_of_range_is_refused(name: str) -> None:
    """Just outside each end is refused by name, each end itself is taken."""
    section, key = name.split(".")
    variable = f"ALLUVIUM_{section}__{key}".upper()
    least, most = RANGES[name]
    kind = type(getattr(getattr(Settings(), section), key))
    for allowed in {least, most} - {float("inf")}:
        assert getattr(getattr(read_settings(None, {variable: str(kind(allowed))}), section), key) == allowed
    with pytest.raises(SettingsError, match=name):
        read_settings(None, {variable: str(kind(least - 1))})
    if most != float("inf"):
        with pytest.raises(SettingsError, match=name):
            read_settings(None, {variable: str(kind(most + 1))})


def test_ranges_are_of_settings_that_exist() -> None:
    """Each key of the table of ranges is a setting."""
    assert set(RANGES) <= {f"{section}.{key}" for section, key in setting_names()}


def test_every_setting_can_stand_in_a_variable() -> None:
    """The default of each setting, given as a variable, is the default again."""
    for section, key in setting_names():
        value = getattr(getattr(Settings(), section), key)
        if isinstance(value, str | int | float):
            variable = f"ALLUVIUM_{section}__{key}".upper()
            assert read_settings(None, {variable: str(value)}) == Settings(), variable


def test_secrets_are_not_shown() -> None:
    """A password is replaced where settings are shown, an empty one is shown as empty."""
    settings = read_settings(None, {"ALLUVIUM_KAFKA__SASL_PASSWORD": "hush"})
    assert "hush" not in str(redacted(settings))
    assert redacted(Settings())["kafka"]["sasl_password"] == ""


@pytest.mark.parametrize("key", ["sasl_password", "ssl_key_password"])
def test_a_password_can_stand_in_a_file(tmp_path: Path, key: str) -> None:
    """Without the end of its line, and shown no more than any other; not beside another, nor in a file that is not."""
    variable, file = f"ALLUVIUM_KAFKA__{key}_file".upper(), tmp_path / "password"
    file.write_text(" hush \n", "utf-8")
    settings = read_settings(None, {variable: str(file)})
    assert getattr(settings.kafka, key) == " hush "
    assert "hush" not in str(redacted(settings))
    with pytest.raises(SettingsError, match="both set"):
        read_settings(None, {variable: str(file), variable.removesuffix("_FILE"): "other"})
    with pytest.raises(SettingsError, match="nowhere cannot be read"):
        read_settings(None, {variable: str(tmp_path / "nowhere")})


def test_the_digest_covers_what_lists_depend_on() -> None:
    """Another place of the broker is the same digest; another length of lists is another."""
    digest = Settings().digest()
    assert digest.startswith("sha256:")
    assert read_settings(None, {"ALLUVIUM_KAFKA__BOOTSTRAP_SERVERS": "elsewhere:1"}).digest() == digest
    assert read_settings(None, {"ALLUVIUM_RECOMMEND__COUNT": "5"}).digest() != digest


def test_settings_are_immutable() -> None:
    """No process changes its settings under way."""
    with pytest.raises(AttributeError):
        Settings().kafka.partitions = 3  # type: ignore[misc]
    assert set(section_types()) == {section for section, _ in setting_names()} | {
        name for name, section in section_types().items() if not section.__struct_fields__
    }


@pytest.mark.parametrize("name", [name for name in RANGES if "learning_rate" in name])
def test_a_number_that_is_none_is_refused(name: str) -> None:
    """TOML and Python know `nan`: it is in no range."""
    with pytest.raises(SettingsError, match=name):
        read_settings(None, {f"ALLUVIUM_{name.replace('.', '__')}".upper(): "nan"})
