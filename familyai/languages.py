"""The languages Whisper hears, by their codes and by the English names that OpenAI's answers use."""

_CODES = """
af=afrikaans am=amharic ar=arabic as=assamese az=azerbaijani ba=bashkir be=belarusian bg=bulgarian bn=bengali
bo=tibetan br=breton bs=bosnian ca=catalan cs=czech cy=welsh da=danish de=german el=greek en=english es=spanish
et=estonian eu=basque fa=persian fi=finnish fo=faroese fr=french gl=galician gu=gujarati ha=hausa haw=hawaiian
he=hebrew hi=hindi hr=croatian ht=haitian_creole hu=hungarian hy=armenian id=indonesian is=icelandic it=italian
ja=japanese jw=javanese ka=georgian kk=kazakh km=khmer kn=kannada ko=korean la=latin lb=luxembourgish ln=lingala
lo=lao lt=lithuanian lv=latvian mg=malagasy mi=maori mk=macedonian ml=malayalam mn=mongolian mr=marathi ms=malay
mt=maltese my=myanmar ne=nepali nl=dutch nn=nynorsk no=norwegian oc=occitan pa=punjabi pl=polish ps=pashto
pt=portuguese ro=romanian ru=russian sa=sanskrit sd=sindhi si=sinhala sk=slovak sl=slovenian sn=shona so=somali
sq=albanian sr=serbian su=sundanese sv=swedish sw=swahili ta=tamil te=telugu tg=tajik th=thai tk=turkmen
tl=tagalog tr=turkish tt=tatar uk=ukrainian ur=urdu uz=uzbek vi=vietnamese yi=yiddish yo=yoruba yue=cantonese
zh=chinese
"""
_OTHERS = """
burmese=my valencian=ca flemish=nl haitian=ht letzeburgesch=lb pushto=ps panjabi=pa moldavian=ro moldovan=ro
sinhalese=si castilian=es mandarin=zh jv=jw nb=no
"""


def _pairs(table: str) -> dict[str, str]:
    return dict(pair.replace("_", " ").split("=") for pair in table.split())


NAMES = _pairs(_CODES)
"""English name by code: `{"en": "english", …}`."""

_CODE_OF = {code: code for code in NAMES} | {name: code for code, name in NAMES.items()} | _pairs(_OTHERS)


def language_code(word: str) -> str | None:
    """The code of a language given by code, with or without region (`pt-BR`), or English name; None if unknown."""
    plain = " ".join(word.lower().replace("_", "-").split())
    return _CODE_OF.get(plain) or _CODE_OF.get(plain.partition("-")[0])
