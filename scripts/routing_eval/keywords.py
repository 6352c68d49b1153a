"""The router that anybody would write in an hour: keywords, lengths, our own checks for images and side tasks. Pure.

What ours has to be better than. It knows five languages, looks at the last words first and at the conversation then,
and obeys the same wishes.
"""

import re
from typing import Any

from familyai.catalogue import Prefer
from familyai.kinds import Kind
from routing.classify import LONGEST_CODE_TOKENS
from routing.conversation import read
from routing.estimate import text_tokens
from routing.wished import Thought, wished

from .exam import sure_kind

SHORT_WORDS = 14
"""A question of no more is a look-up."""


def _any(words: str) -> re.Pattern[str]:
    """Parted by commas: whole words in Latin letters, anything in Chinese."""
    known = [word.strip() for word in words.split(",")]
    whole = "|".join(word for word in known if word[0] < "⺀")
    parts = [rf"(?<!\w)(?:{whole})(?!\w)", *(word for word in known if word[0] >= "⺀")]
    return re.compile("|".join(parts), re.IGNORECASE)


_CODE = _any(
    r"""python, javascript, typescript, java, kotlin, swift(?:ui)?, rust, golang, php, ruby, html, css, sql, bash,
    awk, sed, vba, c\+\+, c#, powershell, regexp?, json, yaml, docker(?:file)?, kubernetes, terraform, git, npm,
    linux, react, vue, angular, django, flask, next\.?js, node\.?js, pandas, numpy, postgres, mysql, sqlite, excel,
    api, code, coding, script, function, macro, compiler?, debug, bug, stack ?trace, exception, unit tests?, refactor,
    algorithm, programm?ing, código, función, programar?, consulta sql, funktion, programm, programmieren, skript,
    makro, fonction, programmer, requête sql, 代码, 函数, 编程, 脚本, 程序, 报错, 正则, 数据库, 接口"""
)
_CODE_SHAPE = re.compile(
    r"```|^\s*(?:def|class|import|from|function|const|let|#include|public|SELECT)\b|[{};]\s*$|Traceback", re.MULTILINE
)
_AGENT = _any(
    r"""repo, repository, codebase, pull request, whole (?:project|app), entire (?:project|app), monorepo,
    from scratch, (?:multiple|several|all) files, full app, run the tests, browser automation, playwright, selenium,
    puppeteer, scrape, scraper, scraping, coding agent, repositorio, todo el proyecto, (?:varios|todos los) archivos,
    desde cero, ganzes? projekt, ganze app, (?:mehrere|alle) dateien, von null, dépôt, tout le projet,
    (?:plusieurs|tous les) fichiers, de zéro, 仓库, 整个项目, 多个文件, 所有文件, 爬虫, 抓取, 从零"""
)
_AGENT_TOOL = re.compile(r"edit|file|bash|shell|command|terminal|browser|patch|grep|git", re.IGNORECASE)
_REASONING = _any(
    r"""step by step, prove, proof, puzzle, riddle, story, tale, fable, poem, haiku, sonnet, essay, song, lyrics, rap,
    speech, dialogue, scene, chapter, jokes, novel, analy[sz]e, analysis, strategy, pros and cons, should (?:i|we),
    think hard, carefully, dilemma, paso a paso, demuestra, cuento, poema, ensayo, canción, escena, capítulo, chistes,
    analiza, historia, estrategia, acertijo, schritt für schritt, beweise?, geschichte, märchen, gedicht, aufsatz,
    lied, szene, kapitel, witze, analysiere, strategie, rätsel, étape par étape, démontre[rz]?, prouve[rz]?, histoire,
    conte, poème, dissertation, chanson, scène, chapitre, blagues, analyse[rz]?, énigme, 一步一步, 逐步, 证明, 故事,
    童话, 诗, 作文, 分析, 歌词, 剧本, 笑话, 策略, 推理, 谜"""
)
_EXPLAIN = _any(
    r"""how (?:do|does|can|to|should), why, explain, describe, recommend, suggest, ideas?, tips, recipe, advice,
    help me, write (?:a|an|me), e-?mail, summari[sz]e, difference, cómo, por qué, explica, recomienda, receta,
    consejos?, correo, resume, diferencia, wie (?:kann|mache|funktioniert), warum, erklär\w*, empfiehl, ideen, rezept,
    tipps, mail, unterschied, comment, pourquoi, expliquer?, idées, recette, conseils?, courriel, résume[rz]?,
    différence, 怎么, 为什么, 解释, 推荐, 建议, 介绍, 区别, 写一, 菜谱, 总结"""
)


def keyword_kind(body: dict[str, Any], prefer: Prefer | None = None) -> Kind:
    if (sure := sure_kind(body)) is not None:
        return sure
    conversation = read(body)
    asked, long = conversation.asked or [""], text_tokens(body) > LONGEST_CODE_TOKENS
    agent_tools = any(_AGENT_TOOL.search(name) for name in conversation.tools)
    if agent_tools or _is_code(asked[-1]) or (len(asked) > 1 and _is_code("\n".join(asked))):
        agentic = agent_tools or long or _AGENT.search(f"{conversation.system}\n{asked[-1]}")
        return Kind.CODE_AGENTIC if agentic else Kind.CODE_TRADITIONAL
    return _chat(asked[-1], wished(body, prefer).thought)


def _is_code(text: str) -> bool:
    return bool(_CODE_SHAPE.search(text) or _CODE.search(text) or _AGENT.search(text))


def _chat(text: str, thought: Thought | None) -> Kind:
    if thought is Thought.MOST or (thought is None and _REASONING.search(text)):
        return Kind.CHAT_REASONING
    if _EXPLAIN.search(text):
        return Kind.CHAT_FAST
    words = len(text.split()) + sum(1 for char in text if char > "⺀") / 1.7
    return Kind.CHAT_LIGHTWEIGHT if words <= SHORT_WORDS else Kind.CHAT_FAST
