// Which of the 478 landmarks are joined by lines: the topology of MediaPipe's face mesh (The MediaPipe Authors, Apache 2.0).

/**
 * The 1,322 edges of its triangles. For each vertex in turn: its neighbours of higher numbers, each as the difference to
 * the one before; "!" stands before a difference of two digits to base 52, a space ends the vertex.
 */
const EDGES = "3B!*?!)[ +7A!,> !)P+T?+!++T? X!*P))O )O).!,7). V!*P!)J !*4VD)!*Z!)8 :0!)A!)) )V!*1A!)P!*D V!)()S!*F[) !)WR!+G )AK!+OK )AJ!+PJ AT!+FT )!);)!,=) )!)9)!,=) )!)8!,> )!)5))!,<)) !)5!*5)!*0!*, AZG8!*E!)D8 P;<!)7!)<, I6+!)O )+!*70)!)@) )!*8)!)H) !)JJ!)H) .*!)A<!)T* !)JR)!)@) ))!*B)!)2) D!)Y))!)2) )!*B!)3) !*B)!)3)> !)D.!*-* !*,G?//+ !)U!*4) !)Q4,5!);/ !)@*3;!)G !)4)Q!)1*) *I!)P+ +G1) )H);!)=* I):!)Q) )F))/ H.)!)Z) 6,F7P!),* )!)D!)S9 .!)G!)J /2/S3H!)9 !))6/-*!)M )7[8!)L8 7NC*!)B [8)-!)4: !)G!)1Q )2*)O!*5) 2!+,)) 6K) 2R!)F,D !)Y89G ,!*<)82 !)>P-N 8!)O!))8 7@!)7!)> 7!):N) 6)):!)K0 -*)I) J,C!**- )Q!*2) +L* *J),) +I K)*) )!)89 !)8? ) ) !*.) !)O!)9- )!)9M) 5)-Z 9)!)S !)K!)(;)) )!)Z0 )  )!)U); )!)S) )!)Q) )!)O) !)O ).)!)F) ).!)G) )-!)H) 7PK) !)==<2 O-!)N/ W!,= )  ))R@*!)? )FLNM !*M* );)-8 9))!)I C ) )  !)@42 ) )R R J;!)5 -).<!)G =>!)A)2) 3!)Y)= 6V6E 8!)K)) /6.!)H )-!*)) )!*.) )!*. )!*-)) /!*( V<-+Y 62F2 ;5 8!)T, +5!)70 4?!)< !)0T)4 5!)1. !)T= +!)433 -P >:9!)) !)4>8 )*4;?> *4> PZ J<=* 9. 0>)-K !)X) !)1 5!); ): 0  F2B* ,;,) )<. ;) !+F) ?!+V ) )   )7 ) ) ) !)I)   +!)X!*> *L+ !)()  A!+*!)6 )P)+ .K ,@1 S 9 60=; @!+>;  N ) ) ) ) 4/ )/ ) ) B, -5*.) 0Y )+D>) G>  =) [) /+/ *[I )O [!+7 30; )0!+HH )/!,-/ / *.** + .) ))1 2 -**  0 )+  ** *    ; ))9 8 9 ) ) ) ) > = / ) ) ) ) ) 3)  -  ** )*) *  )  ) )  )  I!*JM .0!)@[ P;;!)4!)6)+ I6+!)L )+!*6.)!)9) )!*7)!)?) !)IJ!)?) .*!)@<!)K* !)IP)!)9) ))!*?)!)+) D!)V))!)+) )!*?!),) !*?)!),)=) !)C.!)X* !*+C>+/+ !)T!*+) !)P4,3!)4/ !)?*3;!)> !)3)Q!)(*) *I!)O +G1) )H);!)9* I):!)K) )F))/ H.)!)T) 6,F6PW* )!)C!)J9 .!)F!)A /2/R3F!)2 !)(6/-*!)D )7Z8!)C8 7MC*!)9 Z8)-!)/6 !)F!)Q )2*)N!*,) 2!*V)) 6J) 2Q!)A,@ !)V68C ,!*6)42 !)=L,J )7!)KW8 7?!)4!)8 7!)9I) 6))9!)F0 -*)H) I,C!)U- )P!*)) +K* *I),) +H J)*) )!)77 !)7= ) ) !*() !*V- )!)8H) 5),Z 8)!)N !)GV;* )!)T0 )  )!)O)7 )!)M) )!)K) )!)I) !)I )-)!)A) )-!)B) ),!)C) 6PF) !)9;82 N-!)E/ )  ))R=*!)9 )FIHM !*D* );)-8 9))!)@ C ) )  !);4. ) )  J9!). -).<!)> =<!):)2) 3!)P)= 6R5A 8!)B)) /6.!)? )-!)T) )!)Y) )!)Y )!)X)) /!)S !)1-*V 62A2 ;3 8!)K, +5!).0 4=!)5 !)+P)4 5!)(. !)K= +!)-13 -K <88Y !)-<8 )*47>: *4: KV F;9* 7. 0:),G !)O) !)( 3!)4 )8 .  A2>* ;, )8- 7) ) )   )5 ) ) ) !)B   *F+ V)  )K)+ -G H N 8 5/:;  J ) ) ) ) 4+ )/ ) ) >, -1*.) /V )+@>) C>  9) W) ++/ M 10; / *.** + .) ))1 2 -**  0 )+  ** *    ; ))9 8 9 ) ) ) ) > = / ) ) ) ) ) 3)  -  ** )*) *  )  ) )  )";

/** Pairs of landmark numbers, (1322 x 2), one after the other. */
export const TRIANGLES = (() => {
  const found = [];
  let vertex = 0, last = 0;
  for (let i = 0; i < EDGES.length; i++) {
    if (EDGES[i] === " ") { last = ++vertex; continue; }
    const digit = () => EDGES.charCodeAt(i) - 40;
    let step = digit();
    if (EDGES[i] === "!") { i++; step = 52 * digit(); i++; step += digit(); }
    last += step;
    found.push(vertex, last);
  }
  return Uint16Array.from(found);
})();

const lines = (text) => text.split(",").map((line) => line.trim().split(" ").map(Number));

/** Lines along the features of a face. */
export const OVAL = lines("10 109 67 103 54 21 162 127 234 93 132 58 172 136 150 149 176 148 152 377 400 378 379 365 397 288 361 323 454 356 389 251 284 332 297 338 10");
export const BROWS = lines("70 63 105 66 107, 46 53 52 65 55, 300 293 334 296 336, 276 283 282 295 285");
export const EYES = lines("7 33 246 161 160 159 158 157 173 133 155 154 153 145 144 163 7, 249 390 373 374 380 381 382 362 398 384 385 386 387 388 466 263 249");
export const LIPS = lines("0 37 39 40 185 61 146 91 181 84 17 314 405 321 375 291 409 270 269 267 0, 13 82 81 80 191 78 95 88 178 87 14 317 402 318 324 308 415 310 311 312 13");
export const NOSE = lines("168 6 197 195 5 4, 64 98 97 2 326 327 294");
/** Each iris: its centre, and a landmark on its edge. */
export const IRISES = lines("468 469, 473 474");
