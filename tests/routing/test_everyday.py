"""Requests about which nobody would differ, as everybody makes them."""

import pytest

from familyai.catalogue import Route
from familyai.kinds import Kind
from routing.decide import judge

EVERYDAY = {
    Kind.CODE_TRADITIONAL: [
        "why does my loop print 11 times?",
        "Write a Python function that reverses a string",
        "Complete this function: def fibonacci(n):",
        "Fix the bug in this code: for i in range(10) print(i)",
        "How do I sort a list of dicts by key in Python?",
        "What does this regex do: ^\\d{3}-\\d{4}$",
        "SQL query to get the top 5 customers by revenue",
        "Refactor this class to use dependency injection",
        "I get TypeError: 'NoneType' object is not subscriptable",
        "write unit tests for this function",
        "how to center a div",
        "Convert this JavaScript to TypeScript: const add = (a,b) => a+b",
        "Explain this code: x = [i**2 for i in range(10)]",
        "git undo last commit",
        "bash script to rename all jpg files",
        "implement quicksort in rust",
        "Schreibe eine Python-Funktion, die Primzahlen berechnet",
        "写一个Python函数计算斐波那契数列",
        "Escribe una función en JavaScript que valide un email",
        "Écris une fonction Python qui trie une liste",
        "Warum bekomme ich einen NullPointerException?",
        "这段代码为什么报错？ print(1/0)",
        "what's the difference between let and const",
        "my react component re-renders too often",
        "Implement a binary search tree in C++",
        "how do I parse JSON in Go",
        "Write a function to check if a number is prime",
        "Debug this: IndexError: list index out of range",
    ],
    Kind.CODE_AGENTIC: [
        "Refactor the authentication module across all files in the repository",
        "Go through my codebase and update all imports",
        "Build a full-stack todo app with React and FastAPI",
        "Use the browser to log in and download my invoices",
        "Migrate the whole project from JavaScript to TypeScript",
        "Find and fix all failing tests in the repo and open a pull request",
        "Scrape all product pages from this site with Playwright and save them",
        "重构整个项目，把所有文件改成TypeScript",
        "Refactoriza todo el repositorio para usar async",
        "Durchsuche das ganze Repository und ersetze alle Aufrufe von foo()",
        "Ajoute des tests à tous les modules du projet et lance-les",
        "Create a new repository with a Flask backend, a Vue frontend, docker-compose and CI",
        "rename the class User to Account in every file of my project",
        "open the website, click on the search button and tell me the results",
    ],
    Kind.CHAT_LIGHTWEIGHT: [
        "What is the capital of France?",
        "hi",
        "Hello!",
        "thanks",
        "How many ounces in a pound?",
        "What time is it in Tokyo?",
        "Who wrote Hamlet?",
        "translate 'good morning' to Spanish",
        "What's 15% of 80?",
        "When was WW2?",
        "how do you spell necessary",
        "你好",
        "法国的首都是哪里？",
        "¿Cuál es la capital de Italia?",
        "Wie spät ist es in New York?",
        "Quelle est la capitale de l'Espagne ?",
        "2+2",
        "define ubiquitous",
        "Is a tomato a fruit?",
        "How tall is Mount Everest?",
        "Was heißt Hund auf Englisch?",
        "谢谢",
        "synonym for happy",
        "What year did the Titanic sink?",
    ],
    Kind.CHAT_FAST: [
        "Explain how photosynthesis works",
        "Give me some tips for better sleep",
        "Write an email to my boss asking for a day off",
        "What should I cook for dinner tonight?",
        "Summarize this article: The city council met on Monday...",
        "How do I get red wine out of a carpet?",
        "Tell me about the history of Rome",
        "What are some fun activities for kids on a rainy day?",
        "How does a heat pump work?",
        "Recommend some good books about space",
        "Explain quantum computing in simple terms",
        "Wie funktioniert ein Kühlschrank?",
        "怎样才能睡得更好？",
        "¿Cómo puedo aprender a tocar la guitarra?",
        "Comment faire une bonne pâte à crêpes ?",
        "Plan a birthday party for my 7 year old",
        "What's a good gift for my mother?",
        "Why is the sky blue?",
        "Help me write a birthday message for my grandma",
        "My dog keeps barking at night, what can I do?",
    ],
    Kind.CHAT_REASONING: [
        "Prove that the square root of 2 is irrational",
        "Write a short story about a lonely robot",
        "Write a poem about autumn",
        "Solve step by step: if 3x+7=22, and y is twice x, what is x^2+y?",
        "Three people: one lies, one tells the truth, one answers at random. How do you find out who is who?",
        "Analyze the causes of the French Revolution in depth",
        "Should I quit my job to start a company? I have two kids and 20k savings. Think it through.",
        "写一个关于龙的故事",
        "Escribe un poema sobre el mar",
        "Beweise, dass es unendlich viele Primzahlen gibt",
        "Écris une histoire sur un dragon",
        "Compare utilitarianism and deontology and argue which one is more convincing",
        "A farmer has to cross a river with a wolf, a goat and a cabbage. How?",
        "Plan a week in Japan for 4 people under 3000 euros, constraints: one is vegetarian, one in a wheelchair",
        "Think step by step: how many weekdays are there between March 3 and June 9?",
        "What is the integral of x^2 e^x?",
        "证明根号2是无理数",
        "Compose a song about my cat",
        "Evaluate the ethical implications of gene editing",
        "Schreibe eine Kurzgeschichte über einen Zauberer",
    ],
}
ALL = [(kind, text) for kind, texts in EVERYDAY.items() for text in texts]
MOST_WRONG = 2
"""Training anew may lose one and win another."""


def test_what_nobody_would_doubt() -> None:
    wrong = [(kind, text) for kind, text in ALL if judged(text) is not kind]
    assert len(wrong) <= MOST_WRONG, wrong


@pytest.mark.parametrize("text", [text for kind, text in ALL if kind is Kind.CHAT_LIGHTWEIGHT])
def test_a_quick_question_never_takes_a_code_model(text: str) -> None:
    assert judged(text) not in (Kind.CODE_TRADITIONAL, Kind.CODE_AGENTIC)


def judged(text: str) -> Kind:
    return judge({"messages": [{"role": "user", "content": text}]}, 50, Route()).kind
