// Elements of the page, made one by one: text goes in as text and never as markup, so that no id can become code.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an HTML element.
 * @param {string} name
 * @param {Object} [properties] class, text, on (event to listener), style (custom and normal properties); others are attributes
 * @param {...(Node|string|null|undefined|false)} children
 */
export function element(name, properties = {}, ...children) {
  return fill(document.createElement(name), properties, children);
}

/** Make an SVG element; like `element`. */
export function drawn(name, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, name), properties, children);
}

/** Replace what is in a node. */
export function show(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((child) => child || child === 0));
  return node;
}

/** Set text only where it differs, so that screen readers and selections are left alone. */
export function setText(node, text) {
  if (node.textContent !== text) {
    node.textContent = text;
  }
  return node;
}

/** Find an element that index.html has. */
export function byId(id) {
  const node = document.getElementById(id);
  if (!node) {
    throw new Error(`the page has no element #${id}`);
  }
  return node;
}

function fill(node, properties, children) {
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) {
      continue;
    }
    if (key === "class") {
      node.setAttribute("class", value);
    } else if (key === "text") {
      node.textContent = value;
    } else if (key === "on") {
      for (const [type, listener] of Object.entries(value)) {
        node.addEventListener(type, listener);
      }
    } else if (key === "style") {
      // Through the object model: a style attribute would be refused by the content security policy.
      for (const [property, text] of Object.entries(value)) {
        node.style.setProperty(property, text);
      }
    } else {
      node.setAttribute(key, value === true ? "" : String(value));
    }
  }
  node.append(...children.flat(Infinity).filter((child) => child || child === 0));
  return node;
}
