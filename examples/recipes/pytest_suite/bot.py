from sessionbat import SessionBat


class Bot:
    def __init__(self, client: SessionBat) -> None:
        self.client = client

    def answer(self, thread_id: str, question: str) -> str:
        interaction = self.client.session(session_id=thread_id).interaction()
        interaction.retrieval(query=question, documents=[{"id": "kb-17"}])
        interaction.tool_call(tool_name="find_account", output={"status": "locked"})
        with interaction.measure_llm(model="gpt-5.4-mini", input=question) as call:
            call.output = "I have sent you a link."  # stands in for your provider's call
        return call.output
