# %%
from sessionbat import SessionBat

client = SessionBat(app="experiments", default_tags=["notebook"])

# %%
session = client.session(session_id="prompt-v2")
for question in ("I am locked out", "Where is my invoice?"):
    with session.interaction().measure_llm(model="gpt-5.4-mini", input=question) as call:
        call.output = question.upper()  # stands in for your provider's call

# %%
print(client.flush())
print(client.stats())
