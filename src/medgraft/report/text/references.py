"""What a paper about a study cites: BibTeX entries, and how a text names them.

A text names a work as Pandoc does, `[@delong1988]`; a page shows `(DeLong et al. 1988)` instead.

Authors, title, volume, pages and DOI of every entry were held to others' printed references to it,
in November 2026; the works themselves were not opened for it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

CITE = re.compile(r"\[(@\w+(?:; @\w+)*)\]")


def _article(authors: str, title: str, journal: str, place: str, year: int, doi: str = "") -> str:
    volume, _, pages = place.partition(":")
    fields = {"author": authors, "title": f"{{{title}}}", "journal": journal, "volume": volume}
    fields |= {"pages": pages.replace("-", "--"), "year": str(year), "doi": doi}
    return _entry("article", fields)


def _paper(authors: str, title: str, where: str, pages: str, year: int) -> str:
    fields = {"author": authors, "title": f"{{{title}}}", "booktitle": where}
    fields |= {"pages": pages.replace("-", "--"), "year": str(year)}
    return _entry("inproceedings", fields)


def _entry(kind: str, fields: dict[str, str]) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join((f"@{kind}{{KEY,", *lines, "}"))


# By the key that texts use; the year at its end is the one of the entry.
ENTRIES = {
    "collins2024": _article(
        "Collins, Gary S. and Moons, Karel G. M. and Dhiman, Paula and others",
        "TRIPOD+AI statement: updated guidance for reporting clinical prediction models that use "
        "regression or machine learning methods",
        "BMJ",
        "385:e078378",
        2024,
        "10.1136/bmj-2023-078378",
    ),
    "tejani2024": _article(
        "Tejani, Ali S. and Klontzas, Michail E. and Gatti, Anthony A. and others",
        "Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 Update",
        "Radiology: Artificial Intelligence",
        "6:e240300",
        2024,
        "10.1148/ryai.240300",
    ),
    "medgraft2026": _entry(
        "software",
        {
            "author": "{The medgraft developers}",
            "title": "{medgraft: transfer learning on medical images, and what it rests on}",
            "year": "2026",
        },
    ),
    "russakovsky2015": _article(
        "Russakovsky, Olga and Deng, Jia and Su, Hao and others",
        "ImageNet Large Scale Visual Recognition Challenge",
        "International Journal of Computer Vision",
        "115:211-252",
        2015,
        "10.1007/s11263-015-0816-y",
    ),
    "tan2019": _paper(
        "Tan, Mingxing and Le, Quoc V.",
        "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
        "International Conference on Machine Learning",
        "6105-6114",
        2019,
    ),
    "simonyan2015": _paper(
        "Simonyan, Karen and Zisserman, Andrew",
        "Very Deep Convolutional Networks for Large-Scale Image Recognition",
        "International Conference on Learning Representations",
        "",
        2015,
    ),
    "wightman2019": _entry(
        "misc",
        {
            "author": "Wightman, Ross",
            "title": "{PyTorch Image Models}",
            "year": "2019",
            "doi": "10.5281/zenodo.4414861",
        },
    ),
    "pedregosa2011": _article(
        'Pedregosa, Fabian and Varoquaux, Ga{\\"e}l and Gramfort, Alexandre and others',
        "Scikit-learn: Machine Learning in Python",
        "Journal of Machine Learning Research",
        "12:2825-2830",
        2011,
    ),
    "jegou2010": _paper(
        "J{\\'e}gou, Herv{\\'e} and Douze, Matthijs and Schmid, Cordelia and P{\\'e}rez, Patrick",
        "Aggregating Local Descriptors into a Compact Image Representation",
        "IEEE Conference on Computer Vision and Pattern Recognition",
        "3304-3311",
        2010,
    ),
    "perronnin2010": _paper(
        "Perronnin, Florent and S{\\'a}nchez, Jorge and Mensink, Thomas",
        "Improving the Fisher Kernel for Large-Scale Image Classification",
        "European Conference on Computer Vision",
        "143-156",
        2010,
    ),
    "hinton2015": _entry(
        "misc",
        {
            "author": "Hinton, Geoffrey and Vinyals, Oriol and Dean, Jeff",
            "title": "{Distilling the Knowledge in a Neural Network}",
            "year": "2015",
            "eprint": "1503.02531",
            "archiveprefix": "arXiv",
        },
    ),
    "guo2017": _paper(
        "Guo, Chuan and Pleiss, Geoff and Sun, Yu and Weinberger, Kilian Q.",
        "On Calibration of Modern Neural Networks",
        "International Conference on Machine Learning",
        "1321-1330",
        2017,
    ),
    "vancalster2019": _article(
        "Van Calster, Ben and McLernon, David J. and van Smeden, Maarten and others",
        "Calibration: the Achilles heel of predictive analytics",
        "BMC Medicine",
        "17:230",
        2019,
        "10.1186/s12916-019-1466-7",
    ),
    "tsamardinos2018": _article(
        "Tsamardinos, Ioannis and Greasidou, Elissavet and Borboudakis, Giorgos",
        "Bootstrapping the out-of-sample predictions for efficient and accurate cross-validation",
        "Machine Learning",
        "107:1895-1922",
        2018,
        "10.1007/s10994-018-5714-4",
    ),
    "ledell2015": _article(
        "LeDell, Erin and Petersen, Maya and van der Laan, Mark",
        "Computationally efficient confidence intervals for cross-validated area under the ROC "
        "curve estimates",
        "Electronic Journal of Statistics",
        "9:1583-1607",
        2015,
        "10.1214/15-EJS1035",
    ),
    "cohen1968": _article(
        "Cohen, Jacob",
        "Weighted kappa: nominal scale agreement provision for scaled disagreement or partial "
        "credit",
        "Psychological Bulletin",
        "70:213-220",
        1968,
        "10.1037/h0026256",
    ),
    "mccullagh1980": _article(
        "McCullagh, Peter",
        "Regression models for ordinal data",
        "Journal of the Royal Statistical Society: Series B",
        "42:109-142",
        1980,
    ),
    "delong1988": _article(
        "DeLong, Elizabeth R. and DeLong, David M. and Clarke-Pearson, Daniel L.",
        "Comparing the areas under two or more correlated receiver operating characteristic "
        "curves: a nonparametric approach",
        "Biometrics",
        "44:837-845",
        1988,
        "10.2307/2531595",
    ),
    "obuchowski1997": _article(
        "Obuchowski, Nancy A.",
        "Nonparametric analysis of clustered ROC curve data",
        "Biometrics",
        "53:567-578",
        1997,
        "10.2307/2533958",
    ),
    "wilson1927": _article(
        "Wilson, Edwin B.",
        "Probable inference, the law of succession, and statistical inference",
        "Journal of the American Statistical Association",
        "22:209-212",
        1927,
        "10.1080/01621459.1927.10502953",
    ),
    "sadinle2019": _article(
        "Sadinle, Mauricio and Lei, Jing and Wasserman, Larry",
        "Least ambiguous set-valued classifiers with bounded error levels",
        "Journal of the American Statistical Association",
        "114:223-234",
        2019,
    ),
}


def works_in(text: str) -> tuple[str, ...]:
    """Keys of the works that a text names, in the order in which it does.

    >>> works_in("AUROC [@delong1988; @obuchowski1997], again [@delong1988]")
    ('delong1988', 'obuchowski1997')
    """
    named = (key.removeprefix("@") for match in CITE.findall(text) for key in match.split("; "))
    return tuple(key for key in dict.fromkeys(named) if key in ENTRIES)


def in_words(text: str) -> str:
    """The text as a person reads it: author and year in brackets.

    >>> in_words("the interval [@wilson1927; @tan2019].")
    'the interval (Wilson 1927; Tan and Le 2019).'
    """

    def said(match: re.Match[str]) -> str:
        works = works_in(match[0])
        return f"({'; '.join(map(_short, works))})" if works else match[0]

    return CITE.sub(said, text)


def bibtex(keys: Iterable[str]) -> str:
    """The entries of these works, for a `.bib` file."""
    return "\n\n".join(ENTRIES[key].replace("KEY", key, 1) for key in keys) + "\n"


def _short(key: str) -> str:
    [authors] = re.findall(r"author = \{(.*)\},\n", ENTRIES[key])
    names = [_plain(name.partition(",")[0]) for name in authors.split(" and ")]
    who = names[0] if len(names) == 1 else " and ".join(names)
    return f"{who if len(names) <= 2 else f'{names[0]} et al.'} {key[-4:]}"


def _plain(name: str) -> str:
    r"""A name without TeX: accents as letters.

    >>> _plain("J{\\'e}gou")
    'Jégou'
    """
    accents = {"'": "\u0301", '"': "\u0308"}
    spelt = re.sub(r"\{\\(.)(\w)\}", lambda one: one[2] + accents.get(one[1], ""), name)
    return unicodedata.normalize("NFC", re.sub(r"[{}]", "", spelt))
