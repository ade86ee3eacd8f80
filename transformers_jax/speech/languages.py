"""The languages of Whisper: their names and their codes (Radford et al. 2022, appendix E)."""

from __future__ import annotations

from collections.abc import Mapping

from transformers_jax.spelling import nearest

CODES: Mapping[str, str] = dict(
    pair.rsplit("=", 1)
    for pair in """
english=en,chinese=zh,german=de,spanish=es,russian=ru,korean=ko,french=fr,japanese=ja,portuguese=pt,
turkish=tr,polish=pl,catalan=ca,dutch=nl,arabic=ar,swedish=sv,italian=it,indonesian=id,hindi=hi,
finnish=fi,vietnamese=vi,hebrew=he,ukrainian=uk,greek=el,malay=ms,czech=cs,romanian=ro,danish=da,
hungarian=hu,tamil=ta,norwegian=no,thai=th,urdu=ur,croatian=hr,bulgarian=bg,lithuanian=lt,latin=la,
maori=mi,malayalam=ml,welsh=cy,slovak=sk,telugu=te,persian=fa,latvian=lv,bengali=bn,serbian=sr,
azerbaijani=az,slovenian=sl,kannada=kn,estonian=et,macedonian=mk,breton=br,basque=eu,icelandic=is,
armenian=hy,nepali=ne,mongolian=mn,bosnian=bs,kazakh=kk,albanian=sq,swahili=sw,galician=gl,
marathi=mr,punjabi=pa,sinhala=si,khmer=km,shona=sn,yoruba=yo,somali=so,afrikaans=af,occitan=oc,
georgian=ka,belarusian=be,tajik=tg,sindhi=sd,gujarati=gu,amharic=am,yiddish=yi,lao=lo,uzbek=uz,
faroese=fo,haitian creole=ht,pashto=ps,turkmen=tk,nynorsk=nn,maltese=mt,sanskrit=sa,
luxembourgish=lb,myanmar=my,tibetan=bo,tagalog=tl,malagasy=mg,assamese=as,tatar=tt,hawaiian=haw,lingala=ln,hausa=ha,
bashkir=ba,javanese=jw,sundanese=su,cantonese=yue,
burmese=my,valencian=ca,flemish=nl,haitian=ht,letzeburgesch=lb,pushto=ps,panjabi=pa,moldavian=ro,
moldovan=ro,sinhalese=si,castilian=es,mandarin=zh
""".replace("\n", "").split(",")
)
"""English name -> code; those of the last two lines are other names."""


def code_of(language: str, known: Mapping[str, int]) -> str:
    """The code of a language that is named in English ("german"), by its code ("de") or by its
    token ("<|de|>").

    Args:
        known: code -> token, of the model.

    Raises:
        ValueError: the model does not know it.
    """
    name = language.strip().lower()
    if name.startswith("<|") and name.endswith("|>"):
        name = name[2:-2]
    code = CODES.get(name, name)
    if code not in known:
        names = (*known, *(word for word, short in CODES.items() if short in known))
        raise ValueError(
            f"language is {language!r}; this model knows {', '.join(known)}, and their names in "
            f"English{nearest(name, names)}"
        )
    return code
