// Shows only what has all words of the filter, in the text and in the list beside it.

const field = document.getElementById("filter");
const articles = [...document.querySelectorAll("article")].map((node) => ({ node, text: node.textContent.toLowerCase() }));
const links = new Map([...document.querySelectorAll("nav a")].map((node) => [node.hash.slice(1), node]));

function show() {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const { node, text } of articles) {
    node.hidden = !words.every((word) => text.includes(word));
    count += !node.hidden;
    const link = links.get(node.id);
    if (link) link.hidden = node.hidden;
  }
  document.getElementById("found").textContent = words.length ? `${count} of ${articles.length}` : "";
}

document.getElementById("find").hidden = false;
field.addEventListener("input", show);
show();
