// What may be changed in a shaped run. Each control says what it did.

import { element, write } from "./text.js";

export class Controls {
  constructor(form) {
    this.form = form;
    this.said = form.querySelector("#said");
    this.made = "";
    this.inputs = new Map();
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  draw(offered) {
    this.form.hidden = offered.length === 0;
    const shape = JSON.stringify(offered.map(({ value, ...rest }) => rest));
    if (shape !== this.made) {
      this.made = shape;
      this.form.querySelectorAll(".one").forEach((node) => node.remove());
      this.inputs.clear();
      this.said.before(...offered.map((control) => this.#control(control)));
    }
  }

  #control(control) {
    if (control.kind === "button") {
      const button = element("button", "", control.title);
      button.type = "button";
      button.addEventListener("click", () => this.#send({ do: control.do }, button));
      return element("span", "one", button);
    }
    const input = element("input");
    if (control.choices) {
      const list = element("datalist", "", ...control.choices.map((name) => new Option(name, name)));
      list.id = `choices-${control.do}`;
      this.form.append(list);
      input.setAttribute("list", list.id);
    }
    if (control.kind === "number") Object.assign(input, { type: "number", min: control.min, max: control.max, step: "any" });
    input.value = control.value;
    const button = element("button", "", "set");
    button.type = "button";
    button.setAttribute("aria-label", `Set ${control.title}`);
    const send = () => this.#send({ do: control.do, value: control.kind === "number" ? Number(input.value) : input.value }, button);
    button.addEventListener("click", send);
    input.addEventListener("keydown", (event) => event.key === "Enter" && send());
    return element("span", "one", element("label", "", control.title, input), button);
  }

  async #send(order, button) {
    button.disabled = true;
    write(this.said, "…");
    try {
      const answer = await fetch("api/control", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(order) });
      const told = await answer.json();
      write(this.said, told.done ?? told.error);
    } catch {
      write(this.said, "the server does not answer");
    } finally {
      button.disabled = false;
    }
  }
}
