// Shows /openapi.json to people. Knows no call: whatever stands in the document is shown, as text.

const $ = (id) => document.getElementById(id);

// An element with a class, and with text or elements in it.
function make(tag, name, ...inside) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.append(...inside.filter((each) => each !== null && each !== undefined && each !== ""));
  return made;
}

// Text in which what stands in backquotes is code.
function prose(text) {
  const parts = String(text ?? "").split("`");
  return parts.map((part, index) => (index % 2 ? make("code", "", part) : part));
}

// The same, where what stands in backquotes is a kind of problem, with its page.
function problems(text) {
  return prose(text).map((part) => (part instanceof HTMLElement ? Object.assign(make("a", "", part), { href: `/problems/${part.textContent}` }) : part));
}

function follow(api, schema) {
  const path = schema?.$ref?.replace("#/", "").split("/");
  return path ? path.reduce((found, key) => found[key], api) : (schema ?? {});
}

// A schema's type in a few words.
function typeOf(api, given) {
  const schema = follow(api, given);
  const either = schema.anyOf ?? schema.oneOf;
  if (either) return either.map((each) => typeOf(api, each)).join(" or ");
  if (schema.enum) return schema.enum.join(" | ");
  if ("const" in schema) return String(schema.const);
  if (schema.type === "array") return `list of ${typeOf(api, schema.items)}`;
  const range = [schema.minimum, schema.maximum].some((bound) => bound !== undefined) ? ` ${schema.minimum ?? "…"} to ${schema.maximum ?? "…"}` : "";
  const usual = schema.default === undefined || schema.default === null ? "" : `, default ${schema.default}`;
  return `${schema.properties ? schema.title : (schema.type ?? "anything")}${range}${usual}`;
}

// The models that a schema leads to, to be opened.
function modelsIn(api, given, seen = new Set()) {
  const schema = follow(api, given);
  if (seen.has(schema)) return [];
  seen.add(schema);
  const inner = [...(schema.anyOf ?? []), ...(schema.allOf ?? []), ...(schema.items ? [schema.items] : []), ...Object.values(schema.properties ?? {})];
  const own = schema.properties && schema.title ? [schema] : [];
  return [...own, ...inner.flatMap((each) => modelsIn(api, each, seen))];
}

function fields(api, schema) {
  const list = make("dl", "");
  for (const [name, field] of Object.entries(schema.properties)) {
    const needed = (schema.required ?? []).includes(name) ? "" : " (may be absent)";
    const about = field.description ?? follow(api, field).description;
    list.append(make("dt", "", name), make("dd", "", make("span", "soft", typeOf(api, field) + needed), about ? " · " : "", ...prose(about)));
  }
  return make("details", "", make("summary", "", schema.title), make("div", "fields", ...(schema.description ? [make("p", "", ...prose(schema.description))] : []), list));
}

function call(api, path, method, operation) {
  const id = operation.operationId;
  const card = make("section", "call", make("h3", "", operation.summary));
  card.id = id;
  card.append(make("p", "where", make("span", `method ${method}`, method.toUpperCase()), path));
  if (operation.description !== operation.summary) card.append(make("p", "", ...prose(operation.description)));
  if (operation.parameters?.length) {
    const list = make("dl", "");
    for (const each of operation.parameters) {
      list.append(make("dt", "", each.name), make("dd", "", make("span", "soft", `${each.in}, ${typeOf(api, each.schema)} · `), ...prose(each.description)));
    }
    card.append(make("h4", "", "Parameters"), list);
  }
  if (operation.requestBody) card.append(make("h4", "", "Body"), ...content(api, operation.requestBody.content));
  const answers = make("dl", "");
  for (const [status, answer] of Object.entries(operation.responses)) {
    answers.append(make("dt", "", status), make("dd", "", ...(status < 400 ? prose : problems)(answer.description), ...(status < 400 || status === "503" ? content(api, ours(answer.content)) : [])));
  }
  card.append(make("h4", "", "Answers"), answers);
  return card;
}

const ours = (given = {}) => Object.fromEntries(Object.entries(given).filter(([kind]) => kind !== "application/problem+json"));

function content(api, given) {
  const kinds = Object.entries(given);
  const models = new Set(kinds.flatMap(([, { schema }]) => modelsIn(api, schema)));
  const words = kinds.map(([kind, { schema }]) => make("p", "", make("code", "", kind), schema?.description ? ` ${schema.description}` : ""));
  return [...words, ...[...models].map((model) => fields(api, model))];
}

function show(api) {
  $("about").replaceChildren(...prose(api.info.description));
  const all = Object.entries(api.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => ({ path, method, operation })));
  for (const tag of api.tags) {
    const calls = all.filter(({ operation }) => operation.tags.includes(tag.name));
    $("calls").append(make("h2", "", tag.description), ...calls.map(({ path, method, operation }) => call(api, path, method, operation)));
    const links = calls.map(({ operation }) => Object.assign(make("a", "", operation.summary), { href: `#${operation.operationId}` }));
    $("contents").append(make("section", "", make("h2", "", tag.name), ...links));
  }
  $("calls").setAttribute("aria-busy", "false");
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

const answer = await fetch("/openapi.json");
show(await answer.json());
