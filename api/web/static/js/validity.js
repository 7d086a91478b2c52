// What is wrong with a number that was typed, said before it is sent, in the words that the service has for it.

import { integer } from "./format.js";

/** What the value of a number's field has to be, by its own limits; null: it is right. */
export function mend(input) {
  const { badInput, stepMismatch, valueMissing, rangeUnderflow, rangeOverflow } = input.validity;
  if (badInput || stepMismatch || valueMissing) return input.step === "any" ? "it has to be a number" : "it has to be a whole number";
  if (rangeUnderflow) return `it has to be ${integer(Number(input.min))} or more`;
  if (rangeOverflow) return `it has to be ${integer(Number(input.max))} or less`;
  return null;
}
