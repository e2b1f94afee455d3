<?php
// What the PHP suites share: each check prints one line of JSON, its name and null or what went wrong.

error_reporting(E_ALL & ~E_DEPRECATED);

function check(string $name, callable $body): void
{
    $wrong = null;
    try {
        $body();
    } catch (\Throwable $e) {
        for ($wrong = ''; $e !== null; $e = $e->getPrevious()) {
            $wrong .= get_class($e) . ': ' . $e->getMessage() . ' (' . basename($e->getFile()) . ':' . $e->getLine() . ') ';
        }
    }
    echo json_encode(['name' => $name, 'wrong' => $wrong], JSON_INVALID_UTF8_SUBSTITUTE), "\n";
}

function same($expected, $actual): void
{
    if ($expected !== $actual) {
        throw new \LogicException('expected ' . var_export($expected, true) . ', got ' . var_export($actual, true));
    }
}

set_error_handler(function ($level, $text, $file, $line) {
    if (error_reporting() & $level) {
        throw new \ErrorException($text, 0, $level, $file, $line);
    }
    return true;
});
