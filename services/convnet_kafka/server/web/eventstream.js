// Server-Sent Events (WHATWG HTML, section 9.2) from a fetched answer. EventSource cannot send the Authorization header.

// Yields {event, data, id} as they come; `retry` in milliseconds comes as an event of that name.
export async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let event = fresh();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (event.data !== null) yield event;
          event = fresh();
          continue;
        }
        const colon = line.indexOf(":");
        const field = colon < 0 ? line : line.slice(0, colon);
        const text = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
        if (field === "data") event.data = event.data === null ? text : `${event.data}\n${text}`;
        else if (field === "event") event.event = text;
        else if (field === "id") event.id = text;
        else if (field === "retry" && /^\d+$/.test(text)) yield { event: "retry", data: text, id: null };
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

const fresh = () => ({ event: "message", data: null, id: null });
